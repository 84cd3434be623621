"""The cases of the kill campaign: which process of which run gets which signal, and when.

A case follows from (seed, number) alone, on every machine.
"""

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.real.lab_process import experiment_file

CHECKS = {"interval_ms": 100, "timeout_ms": 100, "unhealthy_after": 2, "healthy_after": 2}
PROXY_ARM = {"route": "envoy", "policy": "round_robin", "proxy_health_check": CHECKS}
WORKLOAD = {"clients": 4, "warm_up_s": 0.3, "duration_s": 1.2, "deadline_ms": 1000}
EVENTS = [
    {"at_s": 0.2, "do": "pause", "target": "replica-0", "for_s": 0.3},
    {"at_s": 0.4, "do": "kill", "target": "replica-1", "for_s": 0.3},
    {"at_s": 0.8, "do": "add"},
    {"at_s": 1.0, "do": "roll", "target": "replica-2", "delay_s": 0.2},
]
# Kind of run -> changes of the small experiment, and the words of its command.
KINDS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "plain": ({"arms": {"proxy": PROXY_ARM, "direct": {"route": "direct", "policy": "round_robin"}}}, ()),
    "events": (
        {"arms": {"proxy": PROXY_ARM}, "events": EVENTS, "workload": {**WORKLOAD, "duration_s": 2}},
        (),
    ),
    "processes": ({"arms": {"proxy": PROXY_ARM}}, ("--processes", "2")),
    "up": ({"arms": {"proxy": PROXY_ARM}}, ()),
}
FORK_SERVERS = {"fork server of the parts": "services.replica", "fork server of the load": "load.main"}
SIGNALS = ("KILL", "TERM", "INT", "HUP", "STOP, CONT", "STOP, KILL")
# Stage of a run -> seconds after its beginning at which the signal may come.
STAGES = {
    "start": 1.0,
    "run directory": 0.3,
    "parts": 0.5,
    "warm_up": 0.4,
    "measure": 2.2,
    "done": 1.5,
}
STAGES_OF_UP = {"start": 1.0, "parts": 0.5, "held open": 1.0}
FROZEN_S = (0.3, 4.0)


@dataclass(frozen=True)
class Case:
    """One case. The target gets the signal `after_s` after the run has reached a stage, or once it exists.

    Stages and not seconds from the start of the run, so that a case is the same on a busy machine.
    `frozen_s`: the time between SIGSTOP and the second signal.
    """

    seed: int
    number: int
    kind: str
    target: str
    signal: str
    stage: str
    after_s: float
    frozen_s: float

    def command(self, folder: Path) -> list[str]:
        """Write the experiment into `folder`, and return the words of the command."""
        changes, words = KINDS[self.kind]
        path = str(experiment_file(folder, **{"workload": WORKLOAD, **changes}))
        if self.kind == "up":
            return ["up", path]
        return ["run", path, "--results", "results", "--quiet", "--redo", "0", *words]


def draw_case(seed: int, number: int) -> Case:
    """Return the case with that number."""
    rng = random.Random(f"{seed}/{number}")
    kind = rng.choice(list(KINDS))
    target, signal = rng.choice(targets_of(kind)), rng.choice(SIGNALS)
    stages = STAGES_OF_UP if kind == "up" else STAGES
    # Replicas, Envoy and the load do not exist before the stage "parts".
    first = 0 if target == "harness" or target in FORK_SERVERS else list(stages).index("parts")
    stage, span_s = rng.choice(list(stages.items())[first:])
    after_s, frozen_s = rng.uniform(0, span_s), rng.uniform(*FROZEN_S)
    return Case(seed, number, kind, target, signal, stage, round(after_s, 3), round(frozen_s, 3))


def targets_of(kind: str) -> list[str]:
    """Return the processes that a run of this kind has."""
    targets = ["harness", "fork server of the parts", "replica-0", "replica-1", "envoy"]
    if kind != "up":
        targets += ["fork server of the load", "load"]
    if kind == "processes":
        targets += ["load-worker-0", "load-worker-1"]
    return targets
