"""The report on the machine: cells measured again, who used the CPU, and what would help."""

import json
import re
import shutil
from io import StringIO

import pytest
from rich.console import Console

from harness.analysis.compare import differences
from harness.analysis.machine_samples import Sample, summarise_machine
from harness.analysis.summary import machine_fields, summarise
from harness.cli.run_all import _outcome, _table
from harness.record.cell_record import MACHINE_FILE, write_machine
from harness.record.run_directory import read_run
from harness.report.page import render_report
from harness.report.tables import machine_table
from harness.report.terminal import print_report, print_summary
from tests.unit.synthetic.edited_run import edit, seal_again
from tests.unit.synthetic.synthetic_run import GOLDEN

pytestmark = pytest.mark.whole_run

REASON = "other processes took 1.7 of 2 CPU cores for 0.8 s; the generator sent 212 ms late at p99"
S = 1_000_000_000


def machine(others=0.03):
    """Return machine.json of one second: others had that share of two cores, and the lab a third."""
    samples = [
        Sample(n * S // 10, 0.0, n * 0.2 * (others + 0.3), n * 0.2 * 0.3, 0.0, n * 0.01, 2) for n in range(11)
    ]
    return summarise_machine(samples, 2, 0, S)


@pytest.fixture
def disturbed(tmp_path):
    """The golden run: one cell was measured twice and is still disturbed, another three times."""
    run = shutil.copytree(GOLDEN, tmp_path / "run")
    manifest = json.loads((run / "manifest.json").read_text())
    for cell, attempts in zip(manifest["cells"], (2, 1, 3, 1, 1, 1), strict=True):
        name = f"{cell['arm']}.{cell['repeat']}"
        earlier = [
            {"attempt": n, "reason": REASON, "folder": f"disturbed/{name}.{n}"} for n in range(1, attempts)
        ]
        cell |= {"attempts": attempts, "disturbed": earlier}
        calm = {"attempt": attempts, "disturbed": None, "disturbed_by": None}
        edit(run / "cells" / name / "cell.json", **calm)
        write_machine(run / "cells" / name, machine(0.1 * attempts))
    edit(run / "manifest.json", cells=manifest["cells"], redo=2)
    edit(run / "cells/sticky.1/cell.json", disturbed=REASON, disturbed_by="processes")
    seal_again(run)
    return run


def printed(summary, width=200):
    out = StringIO()
    console = Console(file=out, width=width)
    print_summary(summary, console)
    print_report(summary, GOLDEN / "report.html", console)
    return out.getvalue()


def test_the_terminal_says_how_many_cells_were_measured_again_and_why(disturbed):
    text = " ".join(printed(summarise(read_run(disturbed))).split())
    assert "2 cells were measured again, 3 times in all sticky, repeat 1, attempt 1: other proc" in text
    assert text.count(REASON) == 3
    assert "measured again" not in printed(summarise(read_run(GOLDEN)))


def test_the_report_says_it_in_a_section_of_its_own(disturbed):
    run = read_run(disturbed)
    html = render_report(run, summarise(run), {})
    section = html.split("<h3>Cells that were measured again</h3>")[1]
    assert "2 cells were measured again, 3 times in all" in section
    assert section.count(REASON) == 3
    assert "worst half second" in html
    golden = read_run(GOLDEN)
    calm = render_report(golden, summarise(golden), {})
    assert "measured again" not in calm
    assert "worst half second" not in calm


def test_the_table_has_who_had_the_cpu(disturbed):
    table = machine_table(summarise(read_run(disturbed)))
    assert table.head[1:5] == ["lab", "other processes", "other virtual machines", "waiting for a core"]
    assert [list(row) for row in table.rows] == [
        ["sticky", "30%", "20%", "0%", "10%", "30%"],
        ["round_robin", "30%", "10%", "0%", "10%", "10%"],
    ]


def test_what_a_system_does_not_tell_has_a_dash(disturbed):
    write_machine(disturbed / "cells/sticky.1", summarise_machine([Sample(0), Sample(S)], 2, 0, S))
    for repeat in (2, 3):
        (disturbed / f"cells/sticky.{repeat}" / MACHINE_FILE).unlink()
    (row, _) = machine_table(summarise(read_run(disturbed))).rows
    assert list(row) == ["sticky", *["–"] * 5]


@pytest.mark.parametrize(
    ("cause", "rate", "redo", "advice"),
    [
        (
            "processes",
            600.0,
            2,
            "This machine is too busy for 600 calls/s. Close other programs, or try --rate 300. "
            "--rate 300 asks another question: it shows figures, and judges nothing.",
        ),
        (
            "unknown",
            15.0,
            0,
            "This machine is too busy for 15 calls/s. Close other programs, or try --redo 2, --rate 7.5. "
            "--rate 7.5 asks another question: it shows figures, and judges nothing.",
        ),
        (
            "hypervisor",
            1500.0,
            2,
            "This machine is too busy for 1500 calls/s: other virtual machines take its CPU. "
            "Try another machine, or --rate 750. "
            "--rate 750 asks another question: it shows figures, and judges nothing.",
        ),
        (
            "load",
            5000.0,
            2,
            "The load processes are too slow for 5000 calls/s. "
            "Try more of them (--processes), or --rate 2500. "
            "--rate 2500 asks another question: it shows figures, and judges nothing.",
        ),
        (
            "lab",
            5000.0,
            0,
            "This machine is too slow for 5000 calls/s. Try a machine with more CPU cores, or --rate 2500. "
            "--rate 2500 asks another question: it shows figures, and judges nothing.",
        ),
        (
            "processes",
            None,
            2,
            "This machine is too busy for this load. Close other programs, "
            "or try --clients with fewer clients. "
            "--clients with fewer clients asks another question: it shows figures, and judges nothing.",
        ),
        (
            "stopped",
            600.0,
            0,
            "A signal (SIGSTOP) or a debugger stopped parts of the lab. Try --redo 2.",
        ),
        ("asleep", 600.0, 2, "This machine slept or was paused. Keep it awake, and try again."),
    ],
)
def test_what_would_help_comes_last(disturbed, cause, rate, redo, advice):
    edit(disturbed / "manifest.json", redo=redo)
    edit(disturbed / "cells/sticky.1/cell.json", disturbed_by=cause, planned_rate_per_s=rate)
    run = read_run(disturbed)
    fields = machine_fields(run, "inconclusive")
    assert fields["advice"] == advice
    summary = summarise(run).model_copy(update={"verdict": "inconclusive", **fields})
    assert printed(summary).rstrip().endswith(advice)
    assert advice.replace("'", "&#39;") in render_report(run, summary, {})


@pytest.mark.parametrize("verdict", ["held", "refuted"])
def test_a_verdict_needs_no_advice(disturbed, verdict):
    assert machine_fields(read_run(disturbed), verdict)["advice"] is None


def test_without_a_disturbed_cell_the_machine_is_not_blamed():
    assert machine_fields(read_run(GOLDEN), "inconclusive")["advice"] is None


def test_the_table_of_all_runs_counts_repeated_cells(disturbed):
    outcome = _outcome("sticky", summarise(read_run(disturbed)), disturbed / "report.html")
    assert outcome.repeated == 2
    out = StringIO()
    Console(file=out, width=120).print(_table([outcome]))
    assert "measured" in out.getvalue()
    assert re.search(r"│ sticky .*│ +3/4 │ +2 │", out.getvalue())


def test_runs_on_a_busier_machine_differ_in_that(disturbed, tmp_path):
    busy, calm = read_run(disturbed), shutil.copytree(disturbed, tmp_path / "calm")
    for path in calm.glob(f"cells/*/{MACHINE_FILE}"):
        write_machine(path.parent, machine(0.011))
    found = [change for change in differences(busy, read_run(calm)) if change[0].startswith("machine.")]
    assert found == [("machine.others_share", "10% of the CPU", "0% of the CPU")]
    for path in calm.glob(f"cells/*/{MACHINE_FILE}"):
        write_machine(path.parent, machine(0.1))
    assert differences(busy, read_run(calm)) == []
