"""What the docker testbed stands on: an engine, Compose, and who the containers run as."""

import os
from dataclasses import dataclass
from typing import Self

import docker

from harness.errors import UserError
from harness.plan.run_options import RunOptions
from harness.testbed.docker.compose import compose_command
from harness.testbed.docker.engine import connect, rootless, source_digest

LAB_USER = 10001  # of the image


@dataclass(frozen=True)
class DockerHost:
    """An engine that answers, the words that Compose answers to, and the user in the containers."""

    client: docker.DockerClient
    compose: list[str]
    user: str

    @classmethod
    def find(cls, options: RunOptions) -> Self:
        """Raises UserError without an engine, without Compose, or for options that do not fit."""
        if options.web or options.load.expect_workers:
            option = "--web" if options.web else "--expect-workers"
            raise UserError(f"{option}: not with --testbed docker, whose load is inside its network")
        client = connect()
        return cls(client, compose_command(), _user(rootless(client)))

    @property
    def versions(self) -> dict[str, str]:
        """Engine and image, for the record."""
        return {"docker": str(self.client.version()["Version"]), "image": source_digest()}


def _user(is_rootless: bool) -> str:
    """The user in the containers: this one, so that files are ours; never root of this machine."""
    if is_rootless:
        return "0:0"  # which is this user outside
    if os.getuid() == 0:
        return f"{LAB_USER}:{LAB_USER}"
    return f"{os.getuid()}:{os.getgid()}"
