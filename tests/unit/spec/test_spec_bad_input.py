"""Wrong experiment files: one line each, with file, line, field, value and what was expected."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import UserError
from harness.paths import EXPERIMENTS
from harness.spec.experiment import load_experiment
from harness.spec.yaml_file import FILE_LIMIT_BYTES

GOOD = (EXPERIMENTS / "sticky.yaml").read_text()

Fails = Callable[..., str]


@pytest.fixture
def fails(tmp_path: Path) -> Fails:
    """Loads a text as an experiment file, which must fail; gives the message with the file called F."""

    def load(text: str | bytes, overrides: dict[str, object] | None = None) -> str:
        path = tmp_path / "x.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(UserError) as caught:
            load_experiment(str(path), overrides)
        message = str(caught.value)
        assert "\n" not in message
        return message.replace(str(path), "F")

    return load


def changed(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new, 1)


def line(key: str, offset: int = 0) -> int:
    """The line of a top-level key in the good file, plus some lines."""
    return GOOD[: GOOD.index(f"\n{key}:")].count("\n") + 2 + offset


REPEATS = "from 1 to 100 or a mapping {min, max}"
W, A, E, R = line("workload"), line("arms"), line("expect"), line("repeats")
S = line("replicas")
RATE = "expected a number greater than 0 and at most 100000"

WRONG = [
    (
        "service_time_ms: {",
        "service_time_ms: {methods: {GetVideo: 3}, ",
        f"F:{S}: replicas.service_time_ms.methods.GetVideo: the workload has no such calls; expected one of "
        "AddVideo",
    ),
    (
        "service_time_ms: {",
        "service_time_ms: {methods: {AddVideos: 3}, ",
        f"F:{S}: replicas.service_time_ms.methods: unknown key 'AddVideos'; did you mean 'AddVideo'?",
    ),
    (
        "service_time_ms: {",
        "service_time_ms: {dear: {by: client, share: 0.001, factor: 9}, ",
        f"F:{S}: replicas.service_time_ms.dear.share: 0.001 makes none of 12 clients dear; expected at least "
        "0.0833, or more clients",
    ),
    (
        "service_time_ms: {",
        "service_time_ms: {dear: {by: user, share: 0.1, factor: 9}, ",
        f"F:{S}: replicas.service_time_ms.dear.by: 'user' is not known here; expected 'request' or 'client'",
    ),
    (
        "rate_per_s",
        "ratee_per_s",
        f"F:{W + 2}: workload: unknown key 'ratee_per_s'; did you mean 'rate_per_s'?",
    ),
    ("repeats:", "zzz:", f"F:{R}: unknown key 'zzz'"),
    ("repeats:", '"two\\nlines":', f"F:{R}: key 'two\\nlines' has a line break; expected a name on one line"),
    (
        "repeats: {min: 3, max: 9}",
        "repeats: {min: 3, max: 9}\nname: x",
        f"F:{R + 1}: unknown key 'name'; an experiment has the name of its file",
    ),
    ("600", "fast", f"F:{W + 2}: workload.rate_per_s: 'fast' is not a number; {RATE}"),
    ("600", "'600'", f"F:{W + 2}: workload.rate_per_s: '600' is not a number; {RATE}"),
    ("600", "-3", f"F:{W + 2}: workload.rate_per_s: -3 is out of range; {RATE}"),
    ("600", ".nan", f"F:{W + 2}: workload.rate_per_s: nan is not finite; {RATE}"),
    ("600", "-.inf", f"F:{W + 2}: workload.rate_per_s: -inf is not finite; {RATE}"),
    ("600", "1e9", f"F:{W + 2}: workload.rate_per_s: 1000000000.0 is out of range; {RATE}"),
    ("600", "true", f"F:{W + 2}: workload.rate_per_s: true is not a number; {RATE}"),
    (
        "clients: 12",
        "clients: 12.5",
        f"F:{W + 1}: workload.clients: 12.5 is not a whole number; expected a whole number from 1 to 10000",
    ),
    (
        "repeats: {min: 3, max: 9}",
        "repeats:",
        f"F:{R}: repeats: null cannot be used; expected a whole number {REPEATS}",
    ),
    (
        "repeats: {min: 3, max: 9}",
        f"repeats: {'9' * 80}",
        f"F:{R}: repeats: {'9' * 57}... cannot be used; expected a whole number {REPEATS}",
    ),
    (
        "repeats: {min: 3, max: 9}",
        f"repeats: {'9' * 6000}",
        f"F:{R}: a number of 6000 characters; expected a shorter one",
    ),
    (
        "{AddVideo: 1}",
        "{AddVide: 1}",
        f"F:{W + 4}: workload.calls: unknown key 'AddVide'; did you mean 'AddVideo'?",
    ),
    (
        "{AddVideo: 1}",
        "{}",
        f"F:{W + 4}: workload.calls: a mapping has 0 entries; expected a mapping (number of",
    ),
    (
        "exponential",
        "normal",
        f"F:{W - 1}: replicas.service_time_ms.distribution: 'normal' is not known here; "
        "expected 'constant' or 'exponential' or 'lognormal' or 'pareto'",
    ),
    (
        "  duration_s: 4\n",
        "",
        f"F:{W}: workload: key 'duration_s' is missing; expected a number greater than 0 and at most 3600",
    ),
    (
        "duration_s: 4",
        "duration_s: 4\n  think_time_ms: 3",
        f"F:{W + 2}: workload: both of rate_per_s (open loop) and think_time_ms (closed loop) given; "
        "expected exactly one",
    ),
    (
        "policy: sticky",
        "policy: stiky",
        f"F:{A + 1}: arms.sticky.policy: route 'envoy' has no policy 'stiky'; "
        "expected 'round_robin' or 'least_request' or 'random' or 'ring_hash' or 'maglev' or 'sticky' "
        "or 'weighted' or 'target_groups' or 'client_side_weighted_round_robin'; did you mean 'sticky'?",
    ),
    (
        "{route: envoy, policy: sticky}",
        "{route: direct, policy: sticky}",
        f"F:{A + 1}: arms.sticky.policy: route 'direct' has no policy 'sticky'; "
        "expected 'pick_first' or 'round_robin'",
    ),
    (
        "policy: round_robin}",
        "policy: round_robin, cookie_jar: false}",
        f"F:{A + 2}: arms.round_robin.cookie_jar: false changes nothing: route 'envoy' with policy "
        "'round_robin' sets no cookie; leave it out",
    ),
    (
        "  sticky:",
        "  ../Sticky:",
        f"F:{A + 1}: arms: '../Sticky' is no name for a key here; "
        "expected a name that matches ^[a-z0-9_]{1,40}$",
    ),
    (
        "{arm: sticky, metric: affinity",
        "{arm: stick, metric: affinity",
        "expect[1].arm: unknown arm 'stick'; did",
    ),
    ("of: round_robin", "of: robin", "expect[3].of: unknown arm 'robin'; did you mean 'round_robin'?"),
    (", of: round_robin", "", "expect[3]: at_least_times without 'of'; expected of: the arm to compare with"),
    ("of: round_robin", "of: sticky", "expect[3]: compares arm 'sticky' with itself"),
    (
        "at_least_times: 3",
        "at_least: 3",
        "expect[3]: 'of' with at_least; expected at_most_times or at_least_times",
    ),
    (
        "latency_ms.p99",
        "latency.p99",
        "expect[3].metric: unknown metric 'latency.p99'; did you mean 'latency_ms.p99'?",
    ),
    ("at_least: 1.4", "at_least: .nan", "expect[2].at_least: nan is not finite; expected a number"),
    (
        "at_least: 1.4",
        "at_least: 1, at_most: 2",
        "expect[2]: at_most and at_least given; expected exactly one of "
        "at_most, at_least, at_most_times, at_least_times",
    ),
    (", at_least: 1.4", "", "expect[2]: no bound given; expected exactly one of"),
    (
        "title: Sticky sessions",
        'title: "two\\nlines"  #',
        "F:2: title: 'two\\nlines' cannot be used; expected one line of text, at most 300 characters",
    ),
    (
        "repeats: {min: 3, max: 9}",
        "repeats: {min: 9, max: 3}",
        f"F:{R}: repeats: min 9 is above max 3; expected at most max",
    ),
    ("repeats: {min: 3, max: 9}", "repeats: {min: 3}", f"F:{R}: repeats: key 'max' is missing"),
    (
        "repeats: {min: 3, max: 9}",
        "repeats: {min: 3, max: 9}\nrepeats: 4",
        f"F:{R + 1}: key 'repeats' is given twice (first on line {R})",
    ),
    ("title:", "title: a: b", "F:2: not valid YAML: mapping values are not allowed here"),
    ("expect:", "expect: &a", f"F:{E}: anchors and aliases ('a') are not used in experiment files"),
    ("600", "!!python/name:os.system x", f"F:{W + 2}: tag or merge key"),
    ("repeats:", "? [repeats]\n:", f"F:{R}: a key is not plain text"),
    ("title: Sticky", 'title: "\\ud800"  #', "F:2: title: half of a surrogate pair, U+D800"),
]


@pytest.mark.parametrize(("old", "new", "expected"), WRONG)
def test_one_thing_wrong(fails: Fails, old: str, new: str, expected: str) -> None:
    assert expected in fails(changed(old, new))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "F: the file is empty; expected an experiment"),
        ("# only a remark\n", "F: the file is empty; expected an experiment"),
        ("{}", "F:1: key 'title' is missing; expected one line of text, at most 300 characters"),
        ("- a\n- b\n", "F:1: expected a mapping (key: value lines), as in an experiment file"),
        ("a: [", "F:1: not valid YAML: while parsing a flow node expected the node content, but found"),
        ("a: 1\n\tb: 2\n", "F:2: not valid YAML"),
        ("a: 1\n---\nb: 2\n", "F:2: not valid YAML: expected a single document in the stream"),
        ("- " * 2_000, "F: not valid YAML: nested too deeply"),
        ("a: " + "[" * 30 + "]" * 30, "F:1: nested too deeply"),
        (b"\x7fELF\x00\x01\xff\xfe", "F is not text in UTF-8; expected an experiment file (YAML)"),
        ("a\x00b", "F: not valid YAML: unacceptable character #x0000"),
        (
            "a" * (FILE_LIMIT_BYTES + 1),
            f"F has {FILE_LIMIT_BYTES + 1} bytes; expected at most {FILE_LIMIT_BYTES}",
        ),
    ],
    ids=range(12),
)
def test_what_is_no_experiment_file(fails: Fails, text: str | bytes, expected: str) -> None:
    assert expected in fails(text)


def test_unknown_keys_are_told_before_what_they_cause(fails: Fails) -> None:
    """A misspelt key is also missing under its right name. The message names the misspelling."""
    assert "unknown key 'duration'; did you mean 'duration_s'?" in fails(changed("duration_s", "duration"))


def test_more_requests_than_one_machine_can_record(fails: Fails) -> None:
    text = changed("rate_per_s: 600", "rate_per_s: 6000").replace("duration_s: 4", "duration_s: 3600")
    assert f"F:{W + 2}: workload: 3.89e+08 requests planned in all" in fails(text)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ({"workload.rate_per_s": -5.0}, f"--rate: workload.rate_per_s: -5.0 is out of range; {RATE}"),
        (
            {"replicas.count": 0},
            "--replicas: replicas.count: 0 is out of range; expected a whole number from",
        ),
        ({"workload.duration_s": float("nan")}, "--duration: workload.duration_s: nan is not finite"),
        (
            {"workload.think_time_ms": 5.0},
            "override of 'workload.think_time_ms': workload: both of rate_per_s",
        ),
        (
            {"workload.ratee": 5.0},
            "override of 'workload.ratee': workload: unknown key 'ratee'; did you mean",
        ),
        ({"title.x": 1}, "override of 'title.x': 'title' holds a value, not keys"),
        (
            {"repeats": 100, "workload.duration_s": 3600.0},
            "--duration: workload: 4.32e+08 requests planned in all",
        ),
    ],
)
def test_overrides_are_told_by_their_option(
    fails: Fails, overrides: dict[str, object], expected: str
) -> None:
    assert fails(GOOD, overrides).startswith(expected)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("stiky", "no experiment is called 'stiky'; did you mean 'sticky'?"),
        ("", "no experiment is called ''; there are: black_hole, brownout, canary"),
        ("q" * 1000, f"no experiment is called '{'q' * 77}...'; there are: "),
        ("nowhere/x.yaml", "nowhere/x.yaml: no such file; expected an experiment file (YAML)"),
        ("/dev/null", "/dev/null is not a regular file; expected an experiment file (YAML)"),
        ("./", " is a folder; expected an experiment file (YAML)"),
        ("a\0b.yaml", "embedded null "),
        (f"{'x' * 5000}.yaml", "cannot be read: File name too long"),
    ],
    ids=range(8),
)
def test_names_and_paths_of_nothing(name: str, expected: str) -> None:
    with pytest.raises(UserError) as caught:
        load_experiment(name)
    assert expected in str(caught.value)


def test_a_file_whose_name_cannot_name_a_run(tmp_path: Path) -> None:
    path = tmp_path / "my experiment!.yaml"
    path.write_text(GOOD)
    with pytest.raises(UserError, match=r"'my experiment!' cannot be used; expected a name of A-Z a-z 0-9"):
        load_experiment(str(path))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "secret.yaml"
    path.write_text(GOOD)
    path.chmod(0)
    with pytest.raises(UserError, match="cannot be read: Permission denied"):
        load_experiment(str(path))
