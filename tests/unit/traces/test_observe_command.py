"""`observe` on the command line: summary, report, draft, harmless output, bad usage in one line."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from docs.examples.alb_log import Traffic, write_log
from harness.cli.main import main
from harness.paths import ROOT
from harness.spec.experiment import load_experiment
from harness.traces.log_format import format_of
from tests.unit.traces.conftest import ESCAPE, FORMULA

pytestmark = pytest.mark.whole_run

UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
Shown = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _narrow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("LB_LAB_TRACE_KEY", raising=False)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "a.log"
    write_log(path, Traffic(requests=20))
    return path


def observe(*words: object) -> int:
    return main(["observe", *map(str, words)])


def test_summary_report_draft_and_trace(tmp_path: Path, capsys: Shown) -> None:
    log, folder, draft = tmp_path / "a.log.gz", tmp_path / "r", tmp_path / "my.yaml"
    write_log(log, Traffic(requests=2_000, clients=40, targets=3, skew=0.8, policy="sticky"))
    trace = tmp_path / "t.parquet"
    assert observe(log, "--report", folder, "--write", draft, "--save-trace", trace) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines()[:-3])) <= 80
    assert "2,000 requests" in out
    assert "Purity: 100 %" in out
    page = (folder / "report.html").read_text()
    assert page.count("<figure>") == 6
    assert "Verdict" not in page
    for secret in ("203.0.113", "192.0.2", "AddVideo"):
        assert secret not in out + page
    minutes = list(csv.reader((folder / "minutes.csv").read_text().splitlines()))
    assert sum(int(row[2]) for row in minutes[1:]) == 2_000
    assert len((folder / "targets.csv").read_text().splitlines()) == 1 + 3
    assert format_of(trace) == "parquet"
    _check_draft(draft)


def _check_draft(draft: Path) -> None:
    assert main(["check", str(draft)]) == 0
    experiment = load_experiment(str(draft))
    assert experiment.replicas.count == 3
    assert experiment.workload.clients == pytest.approx(40, abs=2)
    assert experiment.workload.skew == pytest.approx(0.8, abs=0.1)
    assert experiment.replicas.service_time_ms.mean == pytest.approx(20, rel=0.1)
    assert list(experiment.arms) == ["sticky", "round_robin"]


def test_what_a_log_says_does_no_harm(harmful_log: Path, tmp_path: Path, capsys: Shown) -> None:
    words = ("--keep-targets", "--max-broken", "0.1", "--report", tmp_path / "r")
    assert observe(harmful_log, *words) == 0
    out = capsys.readouterr().out
    assert not UNSAFE.search(out)
    assert "harmful.log:301: =cmd" in out
    page = (tmp_path / "r" / "report.html").read_text()
    assert not UNSAFE.search(page)
    assert "<script" not in page
    assert "<img/src" not in page
    assert ESCAPE not in page
    assert "broken lines" in page
    assert "harmful.log" not in page
    for name in ("targets.csv", "minutes.csv"):
        text = (tmp_path / "r" / name).read_text()
        assert not UNSAFE.search(text)
        cells = [cell for row in csv.reader(text.splitlines()) for cell in row]
        assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]
        assert any(cell.startswith(f"'{FORMULA[:4]}") for cell in cells)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--client", "cookie"], "--client: 'cookie'; expected ip"),
        (["--format", "albb"], "--format: 'albb' is no format of logs; did you mean 'alb'"),
        (["--columns", "tim=a"], "--columns: 'tim' is no field of a log; did you mean 'time'"),
        (["--max-broken", "2"], "max-broken"),
        (["--write", "my.txt"], "--write: my.txt: expected a file NAME.yaml"),
        (["--write", "nowhere/my.yaml"], "there is no folder nowhere"),
        (["--report", "."], "--report: . is there already"),
        (["--key-file", "none"], "--key-file: none cannot be read"),
        (["--save-trace", "LOG"], "is one of the logs; expected another file"),
    ],
)
def test_bad_usage_is_one_line(log: Path, words: list[str], message: str, capsys: Shown) -> None:
    assert observe(log, *(str(log) if word == "LOG" else word for word in words)) == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert len(shown.err.splitlines()) == 1
    assert not shown.out


def test_other_commands_do_not_import_it() -> None:
    """`check` may load polars: it predicts the run where the simulator is compiled, and counts its record."""
    code = (
        "import sys; from harness.cli.main import main; main(['list']); assert 'polars' not in sys.modules; "
        "main(['check', 'sticky']); assert not any(n.startswith('harness.traces') for n in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr


def test_the_page_tells_what_the_program_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Shown
) -> None:
    page = (ROOT / "docs" / "observe.md").read_text()
    blocks = re.findall(r"^```sh\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    commands = "".join(blocks).replace("\\\n", " ").replace("build/", f"{tmp_path}/").splitlines()
    make, look, check, _run = (re.sub(" +", " ", command).split(" ") for command in commands)
    monkeypatch.setattr(sys, "argv", make[2:])
    from docs.examples import alb_log

    alb_log.main()
    assert main(look[2:]) == 0
    out = capsys.readouterr().out.replace(str(tmp_path), "build")
    shown = page.partition("<!-- output of observe -->\n```\n")[2].partition("```")[0]
    assert "\n".join(line.rstrip() for line in out.splitlines()) == shown.rstrip("\n")
    assert main(check[2:]) == 0
    played = yaml.safe_load((tmp_path / "tuesday.yaml").read_text())
    played |= yaml.safe_load(page.partition("```yaml\n")[2].partition("```")[0])
    (tmp_path / "played.yaml").write_text(json.dumps(played))
    assert load_experiment(str(tmp_path / "played.yaml")).workload.duration_s == 4
