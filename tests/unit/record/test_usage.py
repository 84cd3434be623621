"""CPU and memory of a cell's parts, from the rows that were sampled."""

import itertools
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import UserError
from harness.record.usage import USAGE_COLUMNS, read_usage

S = 1_000_000_000


def _file(folder: Path, *rows: tuple[int, str, int, int], tail: str = "") -> Path:
    path = folder / "usage.csv"
    lines = [",".join(map(str, row)) for row in (USAGE_COLUMNS, *rows)]
    path.write_text("\n".join(lines) + "\n" + tail)
    return path


def test_counted_between_the_samples_around_the_window(tmp_path: Path) -> None:
    rows = [(t * S, "envoy", t * S // 4, 100 + t) for t in range(6)]
    usage = read_usage(_file(tmp_path, *rows), round(1.5 * S), round(3.5 * S))["envoy"]
    assert usage.cpu_cores == pytest.approx(0.25)
    assert usage.memory_bytes == 104


def test_a_part_that_was_started_anew_counts_from_there(tmp_path: Path) -> None:
    rows = [(0, "replica-0", 8 * S, 1), (S, "replica-0", 9 * S, 1), (2 * S, "replica-0", S, 1)]
    rows += [(4 * S, "replica-0", 2 * S, 1)]
    assert read_usage(_file(tmp_path, *rows), 0, 4 * S)["replica-0"].cpu_cores == pytest.approx(0.5)


def test_a_part_that_ended_has_used_nothing_since(tmp_path: Path) -> None:
    rows = [(t * S, "load", t * S // 4, 1) for t in range(5)]
    rows += [(t * S, "envoy-0", min(t, 4) * S // 2, 1) for t in range(7)]  # idle after the load
    rows += [(t * S, "envoy-1", t * S // 2, 1) for t in range(2)]
    usage = read_usage(_file(tmp_path, *rows), 0, 5 * S)
    assert usage["load"].cpu_cores == pytest.approx(0.25)
    assert usage["envoy-0"].cpu_cores == pytest.approx(0.5)
    assert usage["envoy-1"].cpu_cores == pytest.approx(0.125)


def test_one_sample_says_nothing_and_a_torn_line_is_left_out(tmp_path: Path) -> None:
    path = _file(tmp_path, (0, "load", 5, 1), (0, "envoy", 5, 7), (S, "envoy", 5, 9), tail="2000000000,env")
    usage = read_usage(path, 0, S)
    assert list(usage) == ["envoy"]
    assert (usage["envoy"].cpu_cores, usage["envoy"].memory_bytes) == (0.0, 9)


def test_anything_else_is_refused_in_one_line(tmp_path: Path) -> None:
    path = _file(tmp_path, tail="0,load,much,1\n")
    with pytest.raises(UserError, match=r"usage\.csv: expected rows of t_ns,part,cpu_ns,memory_bytes"):
        read_usage(path, 0, S)


def test_no_file_no_usage(tmp_path: Path) -> None:
    assert read_usage(tmp_path / "usage.csv", 0, S) == {}


@settings(deadline=None)  # each example writes a file
@given(st.lists(st.integers(0, 10**12), min_size=2, max_size=30), st.integers(1, 10))
def test_never_negative_and_at_most_what_was_used(cpu_ns: list[int], step_s: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        rows = [(number * step_s * S, "load", cpu, 1) for number, cpu in enumerate(cpu_ns)]
        usage = read_usage(_file(Path(folder), *rows), 0, rows[-1][0])["load"]
    rises = sum(later - sooner for sooner, later in itertools.pairwise(cpu_ns) if later > sooner)
    assert usage.cpu_cores >= 0
    assert usage.cpu_cores * rows[-1][0] == pytest.approx(max(0, rises), rel=1e-9, abs=1)
