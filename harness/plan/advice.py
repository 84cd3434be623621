"""What follows from a forecast, in words: the recommendation, its assumptions, and what would change it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.plan.fleet_forecast import BOUND_PERCENT, RULES, Answer, FleetForecast, Outlook, Rule
from harness.plan.placements import (
    RARE,
    clients_for_rare_overload,
    heaviest_per_s,
    targets_for_rare_overload,
)
from harness.plan.pool import Pool, ThisMachine, wait_for
from harness.plan.question import FleetQuestion, duration

LABELS: dict[Rule, str] = {
    "round_robin": "round robin",
    "least_request": "two choices",
    "sticky": "sticky",
    "hash": "hashing",
    "bounded_hash": "bounded hash",
}
MEANINGS: dict[Rule, str] = {
    "round_robin": "takes the targets in turn, request by request",
    "least_request": "draws two targets and takes the one with fewer requests in flight (least_request)",
    "sticky": "takes turns over new sessions; a cookie then keeps each on its target",
    "hash": "sends each session to the target that a hash of its name says (maglev, ring_hash)",
    "bounded_hash": f"hashes, but no target gets more than {BOUND_PERCENT}% of the mean in flight",
}
SHORTER = (6, 60)  # sessions are also tried at the load's time divided by these
OTHERS: tuple[Rule, ...] = ("bounded_hash", "least_request")  # instead of sticky sessions
CLOSE = 0.95  # of the best capacity: as good


@dataclass(frozen=True)
class Plan:
    """All answers to a question. clients, targets: that make overload by sticky sessions rare; None: none."""

    question: FleetQuestion
    answers: Mapping[Rule, Answer]
    shorter: Mapping[float, Outlook]
    clients: int | None
    targets: int | None


def plan_fleet(question: FleetQuestion, pool: Pool | None = None) -> Plan:
    """Answer a question; pool: where placements are simulated, None: on this machine.

    Raises UserError if the answer does not fit into memory.
    """
    pool = pool or ThisMachine()
    forecast = FleetForecast(question, pool=pool)
    lengths = [question.duration_s / part for part in SHORTER]
    with pool.threads() as threads:
        shorter = {length_s: threads.submit(forecast.with_sessions, length_s) for length_s in lengths}
        # The longest to simulate comes first.
        answers = {rule: threads.submit(forecast.answer, rule) for rule in reversed(RULES)}
        wait_for([*shorter.values(), *answers.values()])
        return Plan(
            question,
            {rule: answers[rule].result() for rule in RULES},
            {length_s: outlook.result() for length_s, outlook in shorter.items()},
            clients_for_rare_overload(question),
            targets_for_rare_overload(question),
        )


def price_share(plan: Plan, rule: Rule) -> float | None:
    """Return how much less than the best policy this one carries under the objective, as a share.

    None where no policy carries anything, or where no rate was too much for the best one.
    """
    best = max(plan.answers.values(), key=lambda answer: answer.capacity_per_s)
    own = plan.answers[rule]
    if not best.capacity_per_s or (best.capacity_is_least and own.capacity_is_least):
        return None
    return 1 - own.capacity_per_s / best.capacity_per_s


def recommendation(plan: Plan) -> list[str]:
    """Return what to do, in sentences: the finding first, then the figures."""
    question, goal = plan.question, plan.question.goal.in_words()
    if question.utilisation >= 1:
        least = int(question.rate_per_s // question.target_per_s) + 1
        return [
            f"Add targets first. {question.rate_per_s:,.4g} requests/s arrive, and the targets can serve "
            f"{question.targets * question.target_per_s:,.4g}/s. No policy helps before there are {least}.",
            *_enough_targets(plan),
        ]
    if plan.answers["sticky"].capacity_per_s >= question.rate_per_s:
        return [
            f"Sticky sessions are safe for this load: {goal} holds in 19 of 20 placements.",
            *_price(plan),
        ]
    free = _free(plan)
    if plan.answers[free].capacity_per_s < question.rate_per_s:
        return [f"No policy keeps {goal} with {_targets_in_words(question.targets)}.", *_enough_targets(plan)]
    return [
        f"Use {LABELS[free]}. It keeps {goal} and carries {_capacity(plan.answers[free])} requests/s.",
        f"Do not use sticky sessions here. In {plan.answers['sticky'].overload:.0%} of the placements some "
        f"target gets more than it can serve. Then its queue grows for as long as the sessions stay.",
        *_price(plan),
        *_if_sessions_must_stay(plan),
    ]


def _free(plan: Plan) -> Rule:
    """Return the better of the policies without affinity; round robin if it is about as good."""
    best = max(plan.answers[rule].capacity_per_s for rule in ("round_robin", "least_request"))
    turns = plan.answers["round_robin"].capacity_per_s
    return "round_robin" if turns >= CLOSE * best and turns >= plan.question.rate_per_s else "least_request"


def _capacity(answer: Answer) -> str:
    return f"{'at least' if answer.capacity_is_least else 'up to'} {answer.capacity_per_s:,.0f}"


def _targets_in_words(count: int) -> str:
    return f"{count:,} target{'s' if count > 1 else ''}"


def _price(plan: Plan) -> list[str]:
    price, sticky = price_share(plan, "sticky"), plan.answers["sticky"]
    if price is None or price < 0.01:
        return ["Stickiness costs nothing that shows at the rates that were tried."]
    best = max(RULES, key=lambda rule: plan.answers[rule].capacity_per_s)
    return [
        f"Stickiness costs {price:.0%} of the fleet. Sticky sessions keep the objective "
        f"{_capacity(sticky)} requests/s, {LABELS[best]} {_capacity(plan.answers[best])}."
    ]


def _enough_targets(plan: Plan) -> list[str]:
    needs = {LABELS[rule]: answer.targets for rule, answer in plan.answers.items() if answer.targets}
    if not needs:
        tried = plan.answers["round_robin"].targets_tried
        return [
            f"Nor does any policy with {_targets_in_words(tried)}. The service time alone may be too long."
        ]
    fewest = min(needs, key=lambda label: needs[label])
    text = f"With {LABELS['sticky']} sessions: {needs.get('sticky') or 'more than were tried'}."
    return [f"The objective needs {_targets_in_words(needs[fewest])} with {fewest}. {text}"]


def _if_sessions_must_stay(plan: Plan) -> list[str]:
    bounded, sticky = plan.answers["bounded_hash"], plan.answers["sticky"]
    lines = []
    if bounded.capacity_per_s >= plan.question.rate_per_s:
        lines.append(
            "If a target's cache needs the sessions, use bounded hashing: it keeps the objective, and most "
            "requests of a session stay on one target."
        )
    if sticky.targets is not None:
        lines.append(
            f"If every request must stay with its session, plan {_targets_in_words(sticky.targets)}."
        )
    else:
        lines.append(f"Even {sticky.targets_tried} targets would not do for sticky sessions.")
    return lines


def changes(plan: Plan) -> list[tuple[str, str]]:
    """Return what would change the answer for sticky sessions: (what, the effect in a sentence)."""
    question = plan.question
    rare = f"bring the probability of overload below {RARE:.0%}"
    lines = [("clients", _clients(plan, rare)), ("targets", _targets(plan, rare))]
    lasting, now = duration(question.duration_s * 1000), duration(plan.answers["sticky"].p99_ms.median)
    if question.recorded is not None:
        del lines[0]  # other clients than those of the trace would send differently
    for length_s, outlook in plan.shorter.items():
        p99 = duration(outlook.p99_ms.median)
        text = f"Sessions of {duration(length_s * 1000)} instead of {lasting}: p99 {p99} instead of {now}."
        lines.append(("sessions", text))
    for rule in OTHERS:
        answer = plan.answers[rule]
        text = f"p99 {duration(answer.p99_ms.median)}, carries {_capacity(answer)}/s, "
        lines.append((LABELS[rule], f"{text}overload in {answer.overload:.0%} of the placements."))
    return lines


def _clients(plan: Plan, rare: str) -> str:
    question = plan.question
    if plan.clients is None:
        return f"No number of clients up to a million would {rare}."
    if plan.clients == question.clients:
        return f"{question.clients:,} clients are enough: overload is below {RARE:.0%}."
    return f"{plan.clients:,} clients (now {question.clients:,}) with the same rate in all {rare}."


def _targets(plan: Plan, rare: str) -> str:
    question = plan.question
    if plan.targets is None:
        heaviest = heaviest_per_s(question)
        if heaviest > question.target_per_s:
            return (
                f"No number of targets helps: the busiest client alone sends {heaviest:,.4g}/s, and a target "
                f"serves {question.target_per_s:,.4g}/s."
            )
        return f"No number of targets that was tried would {rare}."
    if plan.targets <= question.targets:
        return f"{question.targets:,} targets are enough: {plan.targets:,} {rare}."
    return f"{plan.targets:,} targets (now {question.targets:,}) of the same size {rare}."


def assumptions(question: FleetQuestion) -> Sequence[str]:
    """Return what the answer takes for granted, each in a sentence."""
    arrivals = "at random (Poisson)" if question.recorded is None else "as in the trace"
    slots = f"{question.slots} requests at once" if question.slots > 1 else "one request at a time"
    return (
        f"Requests arrive {arrivals}, service times are {question.distribution}.",
        f"Each target works on {slots} and queues the rest, first come, first served.",
        "Sessions begin in random order and stay for the whole load, "
        f"{duration(question.duration_s * 1000)}. "
        "A longer load makes the queue of an overloaded target longer.",
        "One balancer picks; network and proxy take no time; nobody retries or gives up.",
        *question.notes,
    )
