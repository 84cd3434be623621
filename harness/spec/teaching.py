"""The part `teaching` of an experiment file: the place among the lessons, and the exercise."""

from typing import Literal

from pydantic import Field

from harness.fields import FileName, Line, Model, Text

Chapter = Literal["one_connection", "turns", "stickiness", "hashing", "slow_replicas", "change", "overload"]

# Chapter -> its heading and its introduction, in the order in which they are read.
CHAPTERS: dict[Chapter, tuple[str, str]] = {
    "stickiness": (
        "Stickiness",
        "A sticky balancer keeps a session on one replica. What does that cost, and what is it good for?",
    ),
    "one_connection": (
        "One connection",
        "gRPC sends all calls of a channel over one connection. Who then decides where a call goes?",
    ),
    "turns": ("Taking turns", "Round robin looks simple. Who takes turns, and how even is the result?"),
    "hashing": (
        "Hashing",
        "A key decides the replica. What do hot keys and changes do to it?",
    ),
    "slow_replicas": (
        "Slow and broken replicas",
        "One replica is worse than the others. Which policy notices, and which client suffers?",
    ),
    "change": (
        "When replicas come and go",
        "Something changes while the load goes on: [events.md](events.md). Open `over_time` and the session "
        "ribbon of each report first.",
    ),
    "overload": (
        "Too few replicas for the load",
        "Most replicas are busy or fail. What do health checks and retries do then?",
    ),
}


class Teaching(Model):
    """Where the experiment stands among the lessons, what to read in its report, and an exercise."""

    chapter: Chapter = Field(description="chapter of docs/lessons.md that the experiment belongs to")
    after: FileName | None = Field(
        default=None, description="name of the experiment that should be read before this one (default: none)"
    )
    heading: Line = Field(description="heading of the lesson, one line")
    read: Text = Field(description="what to read in the report, and what it shows (Markdown)")
    exercise: Text = Field(description="one thing to change, and a question about it (Markdown)")
