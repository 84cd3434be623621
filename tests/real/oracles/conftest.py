"""A fixture that starts replicas and an Envoy with one policy."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from behind_envoy import Balanced, StartBalanced, start_balanced
from envoy_process import arm_of
from replica_process import StartReplica


@pytest.fixture
def balanced(tmp_path: Path, start_replica: StartReplica) -> Iterator[StartBalanced]:
    """Starts replicas and Envoy. `replica_options`: options of each replica; `settings`: of the arm."""
    started: list[Balanced] = []

    def start(
        policy: str,
        options: Mapping[str, object] | None = None,
        replica_options: Sequence[Sequence[str]] = ((),) * 3,
        route: str = "envoy",
        **settings: object,
    ) -> Balanced:
        # With so many slots no request waits, so that only the policy decides.
        servers = [start_replica("--slots", "1000", *own) for own in replica_options]
        folder = tmp_path / f"envoy-{len(started)}"
        folder.mkdir()
        named = {f"replica-{number}": server for number, server in enumerate(servers)}
        started.append(start_balanced(folder, arm_of(route, policy, options, **settings), named))
        return started[-1]

    yield start
    for one in started:
        one.envoy.stop()
