"""Damages stored runs, one after another, and has each reported: `python fuzzed_runs.py FROM TO SEED FOLDER`.

A case is a good run directory in which one or two files or folders are damaged. The commands `report` and
`compare` must then end with status 0 and their usual output (the damage was harmless), or with status 2 and
one line. They must change nothing outside of the run directory. The program prints one JSON object:
{"case", "fine", "refused", "wrong", "findings"}. FOLDER/tally has the same before each case, for a case that
ends the program.

`python fuzzed_runs.py NUMBER NUMBER+1 SEED FOLDER` tries one case again.
"""

import faulthandler
import hashlib
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("POLARS_MAX_THREADS", "1")
# Set before the lab is imported: with it, Rust would print a traceback, too.
os.environ.pop("RUST_BACKTRACE", None)

from lab_process import ROOT, experiment_file

from harness.cli.main import main
from harness.record.cell_record import write_machine
from harness.record.run_directory import read_run
from harness.report.plots import PLOTS
from tests.unit.synthetic.edited_run import as_written, seal_again
from tests.unit.synthetic.handwritten_machine import ROBBED, machine
from tests.unit.synthetic.stories import experiment
from tests.unit.synthetic.synthetic_run import synthesise_run

MAX_FINDINGS = 20
CASE_TAKES_S = 900  # at most, on a busy machine; a case that hangs ends the program
MEMORY_BYTES = 8 << 30
TRIED = "tried"  # name of the damaged run
DERIVED = ("summary.json", "report.html", "plots", "joined")
PLOTTED_SHARE = 0.25  # of the cases have a plot, since plots take most of the time
USAGE = "t_ns,part,cpu_ns,memory_bytes\n" + "".join(f"{t}00000000,envoy,{t}0000000,99\n" for t in range(30))
EXTREMES = [
    *(0, -1, 1, 2, 10**6, 10**9, 10**12, 2**31, 2**63 - 1, 2**63, 10**30, -(2**63)),
    *(0.5, -0.0, 1e308, 1e-300, None, True, "", "x", "\x1b[31m", "replica-0", "\u202e", [], {}, "9" * 40),
]
TOKENS = [b"0", b"-1", b"9" * 19, b"9" * 40, b"1e400", b"nan", b"", b'"', b",", b"\n", b"\x00", b"\xff", b"{"]

# One run for each kind of thing that a run may hold: small, because it is read some thousand times.
STICKY, ROUND_ROBIN = "route: envoy, policy: sticky", "route: envoy, policy: round_robin"
GROUPS = "groups: {blue: {replicas: 3, weight: 80}, green: {replicas: 1, weight: 20}}"
RUNS = {
    "plain": experiment(
        {"sticky": STICKY, "round_robin": ROUND_ROBIN},
        expect="[{arm: sticky, metric: latency_ms.p99, at_least_times: 1.5, of: round_robin}]",
    ),
    "as_written": experiment({"sticky": STICKY}),  # the ledgers are no tables yet, as in a killed run
    "cached": experiment(
        {"sticky": STICKY, "groups": f"route: envoy, policy: target_groups, options: {{{GROUPS}}}"},
        replicas=", cache: {sessions: 100, hit_factor: 0.3}",
        calls="AddVideo: 3, GetVideo: 1",
    ),
    "changed": experiment(
        {"sticky": STICKY, "grows": "route: direct, policy: round_robin, events: [{at_s: 0.5, do: add}]"},
        events="[{at_s: 0.3, do: kill, target: replica-1, for_s: 0.3}]",
    ),
}

Damage = Callable[[Path, random.Random], None]


def base_runs(folder: Path) -> list[Path]:
    """Write the good runs, one for each kind of thing that a run may hold, and one that was really run."""
    runs = [real_run(folder / "real")]
    for name, text in RUNS.items():
        run = synthesise_run(folder / name, text, requests=60)
        for cell in (run / "cells").iterdir():
            write_machine(cell, machine(taken=ROBBED))
            (cell / "usage.csv").write_text(USAGE)
        if name == "as_written":
            for stored in read_run(run).cells:
                as_written(stored)
        seal_again(run)
        runs.append(run.rename(folder / f"{name}.run"))
    return runs


def real_run(folder: Path) -> Path:
    """Run a small experiment with two load processes and an event, and return its directory."""
    folder.mkdir(parents=True)
    path = experiment_file(folder, events=[{"at_s": 0.2, "do": "kill", "target": "replica-1"}])
    words = [sys.executable, str(ROOT / "run_experiment.py"), "run", str(path), "--results", str(folder)]
    words += ["--processes", "2", "--quiet", "--no-plots"]  # what is derived goes
    subprocess.run(words, check=False, stdout=subprocess.DEVNULL)
    (latest,) = folder.glob("small/latest")
    run = latest.resolve().rename(folder.with_suffix(".run"))
    for name in DERIVED:
        if (run / name).exists():
            remove(run / name, random.Random())
    return run


def places(run: Path) -> tuple[list[Path], list[Path]]:
    """Return the files and the folders of a run, without what is derived from them."""
    found = [path for path in sorted(run.rglob("*")) if path.relative_to(run).parts[0] not in DERIVED]
    return [path for path in found if path.is_file()], [path for path in found if path.is_dir()]


def flip(path: Path, rng: random.Random) -> None:
    data = bytearray(path.read_bytes())
    for _ in range(rng.choice([1, 1, 2, 8, 64]) if data else 0):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


def overwrite(path: Path, rng: random.Random) -> None:
    data = path.read_bytes()
    start = rng.randrange(len(data) + 1)
    end = start + rng.choice([0, 1, 2, 8, 100])
    path.write_bytes(data[:start] + rng.choice([*TOKENS, rng.randbytes(4), data[start:end] * 2]) + data[end:])


def cut_short(path: Path, rng: random.Random) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: rng.randrange(len(data) + 1)])


def empty(path: Path, _: random.Random) -> None:
    path.write_bytes(b"")


def swap(path: Path, rng: random.Random) -> None:
    """Exchange two files of the run, or give one the content of another."""
    run = next(parent for parent in path.parents if parent.name == TRIED)
    other = rng.choice(places(run)[0])
    one, two = path.read_bytes(), other.read_bytes()
    path.write_bytes(two)
    if rng.random() < 0.5:
        other.write_bytes(one)


def extreme_value(path: Path, rng: random.Random) -> None:
    """Put an extreme value into a place of a JSON file, of a log's line, or of a table."""
    if path.suffix == ".json":
        path.write_text(_with_extreme(path.read_text(), rng))
    elif path.suffix == ".parquet":
        _extreme_cell(path, rng)
    else:
        lines = path.read_text().split("\n")
        number = rng.randrange(len(lines))
        if path.suffix == ".jsonl" and lines[number]:
            lines[number] = _with_extreme(lines[number], rng)
        else:
            fields = lines[number].split(",")
            fields[rng.randrange(len(fields))] = str(rng.choice(EXTREMES))
            lines[number] = ",".join(fields)
        path.write_text("\n".join(lines))


def _with_extreme(text: str, rng: random.Random) -> str:
    tree = json.loads(text)
    spots = list(_spots(tree))
    if spots:
        container, key = rng.choice(spots)
        container[key] = rng.choice(EXTREMES)
    return json.dumps(tree)


def _spots(tree: Any) -> Iterator[tuple[Any, Any]]:
    for key in list(tree) if isinstance(tree, dict) else range(len(tree)):
        yield tree, key
        if isinstance(tree[key], dict | list):
            yield from _spots(tree[key])


def _extreme_cell(path: Path, rng: random.Random) -> None:
    import polars as pl

    frame = pl.read_parquet(path)
    name = rng.choice(frame.columns)
    kind = frame.schema[name]
    numbers = [0, -1, 1, 10**9, 2**31 - 1, *([2**63 - 1, -(2**63), 10**15] if kind == pl.Int64 else [])]
    value = rng.choice(["", "x", "replica-77", "\x1b]0;x\x07"] if kind == pl.String else numbers)
    rows = rng.choice([frame.height, 1, 0])
    if rows == 0:
        frame.clear().write_parquet(path)
        return
    changed = pl.when(pl.int_range(pl.len()) < rows).then(pl.lit(value, dtype=kind)).otherwise(name)
    frame.with_columns(changed.alias(name)).write_parquet(path)


def remove(path: Path, _: random.Random) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def to_folder(path: Path, rng: random.Random) -> None:
    remove(path, rng)
    path.mkdir()
    if rng.random() < 0.5:
        (path / "in").write_text("it")


def to_link(path: Path, rng: random.Random) -> None:
    """Put a link in the place: to itself, to nothing, to a device without end, to a pipe, to a good copy."""
    kind = rng.randrange(6)
    kept = path.with_name("." + path.name)
    if kind == 0:
        path.rename(kept)  # harmless: what was there is still there
    else:
        remove(path, rng)
    if kind == 1:
        os.mkfifo(kept)
    targets = [kept, kept, Path("/dev/zero"), path, Path("/nowhere/at/all"), Path("/dev/null")]
    path.symlink_to(targets[kind])


def to_pipe(path: Path, rng: random.Random) -> None:
    remove(path, rng)
    os.mkfifo(path)


def to_file(path: Path, rng: random.Random) -> None:
    remove(path, rng)
    path.write_bytes(rng.choice(TOKENS))


def swap_folders(path: Path, rng: random.Random) -> None:
    others = [one for one in path.parent.iterdir() if one.is_dir() and one != path]
    if not others:
        return remove(path, rng)
    other, between = rng.choice(others), path.with_name("between")
    path.rename(between)
    other.rename(path)
    between.rename(other)
    return None


ON_FILES: list[Damage] = [
    *(flip, flip, flip, overwrite, overwrite, cut_short, empty, swap, extreme_value, extreme_value),
    *(extreme_value, remove, to_folder, to_link, to_pipe),
]
ON_FOLDERS: list[Damage] = [remove, to_folder, to_link, to_file, swap_folders]
ON_DERIVED: list[Damage] = [to_folder, to_link, to_file, to_pipe]


def spoil(run: Path, rng: random.Random) -> list[str]:
    """Damage one or two places of the run; return what was done."""
    done = []
    for _ in range(rng.choice([1, 1, 1, 2])):
        files, folders = places(run)
        kind = rng.random()
        if kind < 0.03:
            path, damage = run / rng.choice(DERIVED), rng.choice(ON_DERIVED)
            path.unlink(missing_ok=True) if path.is_symlink() or not path.is_dir() else shutil.rmtree(path)
            path.write_text("x")
        elif kind < 0.13 and folders:
            path, damage = rng.choice(folders), rng.choice(ON_FOLDERS)
        else:
            path, damage = rng.choice(files), rng.choice(ON_FILES)
        done.append(f"{damage.__name__} {path.relative_to(run)}")
        try:
            damage(path, rng)
        except Exception as error:  # what an earlier damage left cannot be damaged in this way
            done[-1] += f" (not done: {type(error).__name__})"
    return done


@contextmanager
def captured(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Lead the descriptors 1 and 2 into files, because Rust writes to 2 directly."""
    paths = (folder / "out", folder / "err")
    kept = [os.dup(1), os.dup(2)]
    for number, path in enumerate(paths, start=1):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, number)
        os.close(file)
    try:
        yield paths
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, old in enumerate(kept, start=1):
            os.dup2(old, number)
            os.close(old)


def command(words: list[str], folder: Path) -> tuple[str, str]:
    """Carry out one command line; return its outcome ("fine", "refused"), or "" and what is wrong with it."""
    with captured(folder) as (out_path, err_path):
        try:
            status: object = main(words)
        except BaseException:
            status = traceback.format_exc()
    out, err = (path.read_text(errors="backslashreplace") for path in (out_path, err_path))
    if status == 0 and out and not err:
        return "fine", ""
    one_line = err.startswith("error: ") and err.endswith("\n") and err[:-1].isprintable()
    if status == 2 and not out and one_line:
        return "refused", ""
    return "", f"{words[0]} ended with {status}: {out[:300]!r} {err[:1500]!r}"


def digest(folder: Path) -> str:
    """Return a hash over the names and the content of a folder."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        found.update(str(path).encode() + (path.read_bytes() if path.is_file() else b""))
    return found.hexdigest()


def try_case(number: int, seed: int, runs: list[Path], folder: Path) -> tuple[str, str]:
    """Damage a copy of a run, report and compare it; return the outcome and a finding ("" for none)."""
    rng = random.Random(f"{seed}/{number}")
    good = rng.choice(runs)
    run = folder / TRIED
    shutil.rmtree(run, ignore_errors=True)
    shutil.copytree(good, run)
    done = spoil(run, rng)
    drawn = [rng.choice(list(ALL_PLOTS))] if rng.random() < PLOTTED_SHARE else []
    PLOTS.clear()
    PLOTS.update((name, plot) for name, plot in ALL_PLOTS.items() if name in drawn)
    outcome, wrong = command(["report", str(run)], folder)
    if outcome == "fine" and not (run / "report.html").is_file():
        wrong = "no report.html"
    if not wrong and rng.random() < 0.25:
        _, wrong = command(["compare", str(run), str(good)], folder)
    return outcome, f"case {number}, {good.name}: {', '.join(done)}: {wrong}" if wrong else ""


def fuzz(first: int, last: int, seed: int, folder: Path) -> dict[str, Any]:
    """Try the cases from `first` to `last` - 1; return the counts and findings."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    good = folder / "good"
    runs = sorted(good.glob("*.run")) or base_runs(good)
    before = digest(good)
    counts: Counter[str] = Counter()
    findings: list[str] = []

    def tally(case: int) -> dict[str, Any]:
        found = {"fine": counts["fine"], "refused": counts["refused"], "wrong": counts[""]}
        return {"case": case, **found, "findings": findings}

    with (folder / "traceback").open("w") as traceback_file:
        for number in range(first, last):
            (folder / "tally").write_text(json.dumps(tally(number)))
            faulthandler.dump_traceback_later(CASE_TAKES_S, exit=True, file=traceback_file)
            outcome, wrong = try_case(number, seed, runs, folder)
            counts[outcome] += 1
            if wrong and len(findings) < MAX_FINDINGS:
                findings.append(wrong)
        faulthandler.cancel_dump_traceback_later()
    if digest(good) != before:
        findings.append("a file outside of the damaged run was changed")
    return tally(last)


ALL_PLOTS = dict(PLOTS)

if __name__ == "__main__":
    low, high, start, where = sys.argv[1:]
    print(json.dumps(fuzz(int(low), int(high), int(start), Path(where)), indent=1))
