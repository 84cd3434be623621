"""Every file is an experiment, or is refused in one line that says why."""

import copy
import io
import random
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from harness.errors import UserError
from harness.paths import EXPERIMENTS
from harness.spec.experiment import Experiment, experiment_yaml, load_experiment
from harness.spec.heads import experiment_names
from harness.spec.yaml_file import dump_tree, read_tree
from tests.unit.thorough import examples

FILES = [(EXPERIMENTS / f"{name}.yaml").read_text() for name in experiment_names()]
# Only a few: tests/real/faults/test_many_bad_files.py tries ten thousand files.
FUZZ = settings(
    deadline=None, max_examples=examples(50), suppress_health_check=[HealthCheck.function_scoped_fixture]
)

KEYS = st.sampled_from(
    [
        *("title", "question", "lesson", "replicas", "count", "slots", "service_time_ms", "distribution"),
        *(
            "mean",
            "workload",
            "clients",
            "rate_per_s",
            "think_time_ms",
            "calls",
            "AddVideo",
            "arms",
            "sticky",
        ),
        *("route", "policy", "repeats", "seed", "expect", "arm", "metric", "at_least", "of", "name"),
        *(
            "options",
            "weights",
            "groups",
            "key",
            "sweep",
            "options.weights",
            "retries",
            "by",
            "attempts",
            "on",
        ),
        *("connections", "different", "replica-0", "outage", "cache", "orca", "skew", "deadline_ms"),
        *("[key]", "<<"),
    ]
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**90), 10**90),
    st.sampled_from([10**300, -(10**400)]),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(
        [
            "envoy",
            "envoy-l4",
            "direct",
            "xds",
            "sticky",
            "weighted",
            "ring_hash",
            "AddVideo",
            "constant",
            "spread.cv",
        ]
    ),
)
TREES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(KEYS | st.text(max_size=8), inner, max_size=6)
    ),
    max_leaves=25,
)


def outcome(path: Path, overrides: dict[str, object] | None = None) -> Experiment | None:
    """Return the experiment in a file, or None if it was refused correctly."""
    try:
        return load_experiment(str(path), overrides)
    except UserError as error:
        assert str(error)
        assert "\n" not in str(error)
        return None


def write(path: Path, text: str) -> Path:
    path.write_bytes(text.encode(errors="surrogatepass"))
    return path


@cache
def parsed(text: str) -> Any:
    """The tree of the text; to be copied before it is changed."""
    return YAML(typ="safe", pure=True).load(text)


@FUZZ
@given(text=st.text(alphabet=st.characters() | st.sampled_from("{}[]:,-#&*!|>'\"%@`? \n\t"), max_size=200))
@example("!<a:b> {}")
@example("%TAG ! x:\n--- !y {}")
@example("? {a: b}\n: c")
@example("&a [*a]")
@example("a: !!float x")
@example("a: !!int 0x")
@example("!!set {a}")
@example("a: !!null x")
def test_random_text(tmp_path: Path, text: str) -> None:
    outcome(write(tmp_path / "x.yaml", text))


@FUZZ
@given(data=st.binary(max_size=300))
def test_random_bytes(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(data)
    outcome(path)


@FUZZ
@given(tree=st.dictionaries(KEYS, TREES, max_size=10))
@example(tree={"title": {"\n": {"\x1f": None}}})
def test_random_trees(tmp_path: Path, tree: dict[str, Any]) -> None:
    out = io.StringIO()
    YAML(typ="safe", pure=True).dump(tree, out)
    outcome(write(tmp_path / "x.yaml", out.getvalue()))


@FUZZ
@given(source=st.sampled_from(FILES), seed=st.integers(0, 2**32), value=TREES)
def test_a_real_file_with_one_value_changed(tmp_path: Path, source: str, seed: int, value: Any) -> None:
    rng = random.Random(seed)
    tree = copy.deepcopy(parsed(source))
    place: Any = tree
    while True:
        key = rng.choice(list(place) if isinstance(place, dict) else range(len(place)))
        if not isinstance(place[key], dict | list) or not place[key] or rng.random() < 0.2:
            break
        place = place[key]
    place[key] = value
    out = io.StringIO()
    YAML(typ="safe", pure=True).dump(tree, out)
    experiment = outcome(write(tmp_path / "x.yaml", out.getvalue()))
    if experiment is not None:
        again = write(tmp_path / "again.yaml", experiment_yaml(experiment))
        assert load_experiment(str(again), name="x") == experiment


@FUZZ
@given(source=st.sampled_from(FILES), data=st.data())
def test_a_real_file_with_characters_changed(tmp_path: Path, source: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(source)))
    end = data.draw(st.integers(start, min(len(source), start + 30)))
    text = source[:start] + data.draw(st.text(max_size=5)) + source[end:]
    outcome(write(tmp_path / "x.yaml", text))


@FUZZ
@given(
    overrides=st.dictionaries(
        st.lists(KEYS, min_size=1, max_size=3).map(".".join) | st.text(max_size=9), TREES
    )
)
def test_random_overrides(overrides: dict[str, object]) -> None:
    try:
        load_experiment("sticky", overrides)
    except UserError as error:
        assert "\n" not in str(error)


@FUZZ
@given(tree=st.dictionaries(st.text(min_size=1, max_size=8), TREES, min_size=1, max_size=5))
@example(tree={"\x85": "a\x85b", "k": "two\nlines\n", "l": " a\n b "})
@example(tree={"\n": None})
def test_what_is_written_reads_back_equal(tmp_path: Path, tree: dict[str, Any]) -> None:
    try:
        read = read_tree(write(tmp_path / "x.yaml", dump_tree(tree)), "x").value
    except UserError as error:
        refused = ("a number of", "expected text without control", "has a line break")
        assert any(reason in str(error) for reason in refused)
    else:
        assert repr(read) == repr(tree)


def test_a_refusal_is_a_failure_of_these_tests_when_it_is_no_user_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check can fail: another kind of error does not count as a refusal."""
    monkeypatch.setattr("harness.spec.experiment.read_tree", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        outcome(write(tmp_path / "x.yaml", "a: 1"))
