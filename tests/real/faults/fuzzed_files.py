"""Loads fuzzed experiment files, one after another: `python fuzzed_files.py COUNT SEED FOLDER [KEEP]`.

Each file is a real experiment with events, changed in up to three places. Loading it must give an experiment
with a plan, or one line of error, and must start, open or write nothing. The program prints one JSON object:
{"accepted", "refused", "findings"}. The first KEEP refused files stay in FOLDER.
"""

import io
import json
import random
import sys
from pathlib import Path
from typing import Any

from audit_events import report_harmful_events
from ruamel.yaml import YAML

from harness.cli.check import plan_text
from harness.errors import UserError
from harness.events.registry import EVENT_KINDS
from harness.paths import EXPERIMENTS
from harness.spec.experiment import Experiment, load_experiment
from harness.spec.heads import experiment_names

TEXTS = [
    "",
    " ",
    "replica-0",
    "any",
    "all",
    "sticky",
    "direct",
    "kill",
    "\x00",
    "é\u2028",
    "{",
    "1e999",
    "0x1f",
]
NUMBERS = [0, -1, 1, 2, 0.5, 1e-300, 1e308, 10**40, float("nan"), float("inf"), -0.0, 65536, 3600]
MAX_FINDINGS = 5


def event(rng: random.Random) -> dict[str, Any]:
    """Return something like an event, which is often a valid one."""
    kind = rng.choice(list(EVENT_KINDS.values()))
    found: dict[str, Any] = {"at_s": rng.choice([0.2, 0.5, 1, 1.5, 2.5]), "do": kind.name, **kind.example}
    extras = {
        **{"target": rng.choice(["replica-0", "replica-1", "any", "most_loaded", "all", 0.5])},
        **{"for_s": 0.5, "factor": 10, "share": 0.5, "code": "UNAVAILABLE", "delay_s": 0.3},
        **{"after_headers": True, "after_work": True, "count": 2, "weight": 3, "cores": 0.5},
    }
    targets = ["target"] if "target" in kind.example else []
    for key in {*targets, *rng.sample(list(extras), rng.choice([0, 0, 0, 1]))}:
        found[key] = extras[key]
    return found


def value(rng: random.Random, depth: int = 0) -> Any:
    """Return any value that a YAML file can hold."""
    kind = rng.randrange(8 if depth < 3 else 5)
    if kind == 0:
        return rng.choice([None, True, False])
    if kind in (1, 2):
        return rng.choice(NUMBERS)
    if kind in (3, 4):
        return rng.choice(TEXTS)
    if kind == 5:
        return event(rng)
    if kind == 6:
        return [value(rng, depth + 1) for _ in range(rng.randrange(4))]
    return {
        rng.choice([*TEXTS, "at_s", "do", "arms"]): value(rng, depth + 1) for _ in range(rng.randrange(4))
    }


def places(tree: Any) -> list[tuple[Any, Any]]:
    """Return every (container, key or index) in `tree`."""
    found = []
    for key in list(tree) if isinstance(tree, dict) else range(len(tree)):
        found.append((tree, key))
        if isinstance(tree[key], dict | list):
            found += places(tree[key])
    return found


def spoil_tree(tree: dict[str, Any], rng: random.Random) -> None:
    """Change one place: remove, misspell, scale, copy, duplicate or replace a value."""
    container, key = rng.choice(places(tree))
    kind = rng.randrange(6)
    if kind == 0:
        del container[key]
    elif kind == 1 and isinstance(container, dict):
        letters = list(str(key))
        rng.shuffle(letters)
        container["".join(letters)] = container.pop(key)
    elif kind == 2 and isinstance(container[key], int | float):
        container[key] *= rng.choice([-1, 0, 0.001, 1000, 10**6])
    elif kind == 3:
        other, other_key = rng.choice(places(tree))
        container[key] = json.loads(json.dumps(other[other_key]))
    elif kind == 4 and isinstance(container, list):
        container.append(json.loads(json.dumps(container[key])))
    else:
        container[key] = value(rng)


def spoil_text(text: str, rng: random.Random) -> bytes:
    """Return the text with a few bytes removed, doubled or overwritten."""
    data = text.encode()
    start = rng.randrange(len(data))
    end = min(len(data), start + rng.choice([1, 1, 2, 10, 200]))
    middle = rng.choice(
        [b"", data[start:end] * 2, bytes(rng.randrange(256) for _ in range(3)), b"\n", b"&a *a "]
    )
    return data[:start] + middle + data[end:]


def shortened(tree: dict[str, Any]) -> dict[str, Any]:
    """Return the tree with at most three arms and short texts, because it loads faster."""
    arms = dict(list(tree["arms"].items())[:3])
    expect = [each for each in tree["expect"] if {each["arm"], each.get("of", each["arm"])} <= set(arms)]
    return {**tree, "question": "Why?", "lesson": "Look.", "arms": arms, "expect": expect[:3]}


def fuzzed(tree: dict[str, Any], rng: random.Random) -> bytes:
    """Return the content of one fuzzed file."""
    tree = json.loads(json.dumps(tree))
    holder = rng.choice([tree, *tree["arms"].values()])
    holder["events"] = [event(rng) for _ in range(rng.randrange(1, 4))]
    for _ in range(rng.choice([0, 1, 1, 1, 2, 3])):
        spoil_tree(tree, rng)
    if rng.random() < 0.9:
        text = json.dumps(tree, indent=rng.choice([None, 1]))  # JSON is YAML, and faster to write and read
    else:
        out = io.StringIO()
        YAML(typ="safe", pure=True).dump(tree, out)
        text = out.getvalue()
    return spoil_text(text, rng) if rng.random() < 0.3 else text.encode()


def outcome(path: Path) -> tuple[bool, str]:
    """Load the file; return whether it is an experiment, and a finding ("" for none)."""
    try:
        experiment = load_experiment(str(path))
        return True, "" if plan_text(experiment) else "an empty plan"
    except UserError as error:
        lines = str(error).splitlines()
        return False, "" if len(lines) == 1 and lines[0].strip() else f"not one line: {str(error)!r:.300}"
    except Exception as error:
        return False, f"{type(error).__name__}: {str(error)!r:.300}"


def run(count: int, seed: int, folder: Path, keep: int) -> dict[str, Any]:
    """Load `count` fuzzed files and return the counts and findings."""
    rng = random.Random(seed)
    started: list[str] = []
    loading = False
    report_harmful_events(lambda what: started.append(what) if loading else None)
    reader = YAML(typ="safe", pure=True)
    trees = [reader.load((EXPERIMENTS / f"{name}.yaml").read_text()) for name in experiment_names()]
    trees = [shortened(tree) for tree in trees]
    schema = Experiment.model_json_schema()
    Experiment.model_json_schema = lambda: schema  # type: ignore[assignment,misc]  # make it only once
    tally: dict[str, Any] = {"accepted": 0, "refused": 0, "findings": []}
    path = folder / f"fuzzed-{seed}.yaml"
    for number in range(count):
        data = fuzzed(rng.choice(trees), rng)
        path.write_bytes(data)
        loading = True
        accepted, wrong = outcome(path)
        loading = False
        tally["accepted" if accepted else "refused"] += 1
        wrong = wrong or "; ".join(started)
        started.clear()
        if wrong and len(tally["findings"]) < MAX_FINDINGS:
            tally["findings"].append(f"file {number}: {wrong}\n{data.decode(errors='replace')[:2000]}")
        if not accepted and tally["refused"] <= keep:
            (folder / f"refused-{seed}-{number}.yaml").write_bytes(data)
    return tally


if __name__ == "__main__":
    many, start, where, *kept = sys.argv[1:]
    print(json.dumps(run(int(many), int(start), Path(where), int(kept[0]) if kept else 0)))
