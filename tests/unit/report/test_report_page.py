"""The report: complete, safe, without network, and readable by screen readers."""

import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from io import StringIO

import pytest
from rich.console import Console

from harness.analysis.summary import summarise
from harness.errors import UserError
from harness.paths import ROOT
from harness.record.record_file import SCHEMA
from harness.record.run_directory import read_run
from harness.report.assets import module_script
from harness.report.page import build_report, render_report
from harness.report.tables import figure, ledgers_table
from harness.report.terminal import print_summary
from tests.unit.synthetic import stories
from tests.unit.synthetic.synthetic_run import EXPERIMENT, GOLDEN, synthesise_run

pytestmark = pytest.mark.whole_run

DRAWN = (
    *("share_per_replica", "clients_on_replicas", "spread_by_unit", "share_over_time"),
    *("clients_by_replica", "errors", "latency", "stages", "queues"),
)
EVIL = '<script>alert(1)</script><img src=x onerror="alert(2)">{{ 7 * 7 }}'


class Page(HTMLParser):
    """Tags with their attributes, and the text."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = shutil.copytree(GOLDEN, tmp_path_factory.mktemp("report") / "run")
    assert build_report(run)[0] == run / "report.html"
    return run


@pytest.fixture(scope="module")
def page(run):
    return Page((run / "report.html").read_text(encoding="utf-8"))


def rendered(run_dir):
    run = read_run(run_dir)
    return render_report(run, summarise(run), {})


def test_what_is_derived_is_there(run):
    assert json.loads((run / "summary.json").read_text())["schema"] == SCHEMA
    for name in DRAWN:
        assert (run / "plots" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert (run / "plots" / f"{name}.svg").read_text().rstrip().endswith("</svg>")


def test_the_page_loads_nothing(run, page):
    refers = [
        value for _, attrs in page.tags for key, value in attrs.items() if key in ("src", "href", "srcset")
    ]
    assert len(refers) > len(DRAWN)
    # A plot refers to parts of its own only, or contains a picture.
    assert all(place.startswith(("#", "data:image/png;base64,")) for place in refers)
    assert not {"link", "iframe", "object", "base", "img"} & {tag for tag, _ in page.tags}
    html = (run / "report.html").read_text()
    assert re.findall(r"url\(([^)]*)\)", html)
    assert all(place.startswith("#") for place in re.findall(r"url\(([^)]*)\)", html))
    assert not re.search(r"https?://|@import", html)


def test_every_id_is_there_once_and_what_is_referred_to_is_there(page):
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    named = [attrs.get("aria-labelledby", "").split() for _, attrs in page.tags]
    links = [attrs["href"][1:] for _, attrs in page.tags if attrs.get("href", "").startswith("#")]
    clips = [attrs["clip-path"][5:-1] for _, attrs in page.tags if "clip-path" in attrs]
    assert {name for one in named for name in one} | set(links) | set(clips) <= set(ids)


def test_the_page_runs_its_own_scripts_and_no_other(run, page):
    html = (run / "report.html").read_text()
    scripts = [module_script("replay_player.js"), module_script("whatif_panel.js")]
    hashes = " ".join(script.csp_hash for script in scripts)
    policies = [attrs["content"] for tag, attrs in page.tags if attrs.get("http-equiv")]
    assert policies == [
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; " + f"script-src {hashes}"
    ]
    kinds = [attrs for tag, attrs in page.tags if tag == "script"]
    assert kinds == [{"type": "application/json"}] * 2 + [{"type": "module"}] * 2
    for script in scripts:
        assert f'<script type="module">{script.text}</script>' in html
    assert not [key for _, attrs in page.tags for key in attrs if key.startswith("on")]


def test_the_page_tells_the_whole_story(page):
    for words in (
        "Sticky sessions overload a replica",
        "Where do they go when the balancer is sticky?",
        "12 clients send",
        "With sticky, ",
        "Verdict: refuted",
        "sticky: busiest / fair share at least 1.4",
        "One thing differs between the arms: policy.",
        "stickiness.lb_cookie.duration_seconds",
        "aws elbv2 modify-target-group-attributes --target-group-arn ARN",
        "A busy client drags all of its requests to one replica.",
        "python run_experiment.py sticky --seed 1",
        "envoy 1.40.0",
        "6 recorded of 6 planned",
        "sticky, from the planned send",
    ):
        assert words in page.text, words
    assert "The run did not end" not in page.text


def test_a_run_in_containers_says_so_and_what_they_used(tmp_path):
    run = shutil.copytree(GOLDEN, tmp_path / "run")
    manifest = json.loads((run / "manifest.json").read_text())
    manifest |= {"testbed": "docker", "load": {"processes": 2, "expect_workers": 0}}
    (run / "manifest.json").write_text(json.dumps(manifest))
    for cell in (run / "cells").glob("sticky.*"):
        window = json.loads((cell / "cell.json").read_text())
        start_ns, end_ns = window["measure_start_ns"], window["measure_end_ns"]
        used_ns = (end_ns - start_ns) // 8
        rows = [f"{start_ns},envoy,0,{2**20}", f"{end_ns},envoy,{used_ns},{3 * 2**20}"]
        (cell / "usage.csv").write_text("t_ns,part,cpu_ns,memory_bytes\n" + "\n".join(rows) + "\n")
    summary = summarise(read_run(run))
    html = render_report(read_run(run), summary, {})
    assert "run_experiment.py sticky --seed 1 --testbed docker --processes 2" in html
    assert "0.125, 3" in html
    usage = {arm: figures.usage for arm, figures in summary.arms.items()}
    assert usage["round_robin"] == {}
    assert usage["sticky"]["envoy"].model_dump() == {
        "cpu_cores": pytest.approx(0.125),
        "memory_bytes": 3 * 2**20,
    }


def test_the_parts_stand_in_the_order_of_a_story(page):
    parts = [
        "The set-up",
        "request by request",
        "What was found",
        "Why it is so",
        "What if?",
        "On a real AWS",
        "All figures",
    ]
    places = [page.text.index(part) for part in parts]
    assert places == sorted(places)
    tables = [place for place, (tag, _) in enumerate(page.tags) if tag == "table"]
    story_ends = max(place for place, (tag, _) in enumerate(page.tags) if tag == "h2")
    # Only the replay's table of the moment stands before, which is folded, too, and that of the what-if.
    assert len([place for place in tables if place < story_ends]) == 2


def test_the_page_can_be_read_aloud(page):
    drawings = [attrs for tag, attrs in page.tags if tag == "svg" and "aria-hidden" not in attrs]
    assert len(drawings) > len(DRAWN)
    assert all(attrs["role"] == "img" and len(attrs["aria-labelledby"].split()) == 2 for attrs in drawings)
    assert all(attrs.get("scope") in ("row", "col") for tag, attrs in page.tags if tag == "th")
    assert page.tags[0] == ("html", {"lang": "en"})


def test_a_metric_has_its_headline_and_its_name_is_there_when_pointed_at(page):
    assert {"spread.max_over_mean"} <= {attrs["title"] for tag, attrs in page.tags if tag == "abbr"}
    assert "spread.max_over_mean" not in page.text


def test_a_report_is_the_same_each_time(run, tmp_path):
    again = shutil.copytree(GOLDEN, tmp_path / "run")
    build_report(again)
    for path in ("report.html", "summary.json", *(f"plots/{name}.svg" for name in DRAWN)):
        assert (again / path).read_bytes() == (run / path).read_bytes(), path


def test_what_users_write_is_escaped(tmp_path):
    quoted = json.dumps(EVIL)
    evil = re.sub(r"(?m)^(title|question): .*$", lambda match: f"{match[1]}: {quoted}", EXPERIMENT)
    evil = re.sub(r"(?s)lesson: \|.*?(?=replicas:)", lambda _: f"lesson: {quoted}\n", evil)
    run = synthesise_run(tmp_path, evil, requests=20)
    manifest = json.loads((run / "manifest.json").read_text())
    manifest |= {
        "error": EVIL,
        "status": "failed",
        "versions": {EVIL: EVIL},
        "notes": [EVIL],
        "not_judged": [EVIL],
    }
    manifest["host"] |= {"system": EVIL, "machine": EVIL}
    (run / "manifest.json").write_text(json.dumps(manifest))
    cell = json.loads((run / "cells/sticky.1/cell.json").read_text())
    (run / "cells/sticky.1/cell.json").write_text(json.dumps(cell | {"missing_ledgers": {"envoy": EVIL}}))
    page = Page(rendered(run))
    assert "img" not in {tag for tag, _ in page.tags}
    kinds = [attrs["type"] for tag, attrs in page.tags if tag == "script"]
    assert kinds == ["application/json"] * 2 + ["module"] * 2
    assert page.text.count(EVIL) >= 11


@pytest.mark.parametrize(("status", "words"), [("interrupted", "did not end"), ("failed", "The lab failed")])
def test_an_unfinished_run_says_so_first(tmp_path, status, words):
    run = shutil.copytree(GOLDEN, tmp_path / "run")
    manifest = json.loads((run / "manifest.json").read_text())
    manifest |= {"status": status, "error": "replica-2 died; see logs/replica-2.log"}
    (run / "manifest.json").write_text(json.dumps(manifest))
    shutil.rmtree(run / "cells/sticky.2")
    text = Page(rendered(run)).text
    assert text.index(f"Run {status}") < text.index(words) < text.index("Verdict:")
    assert "replica-2 died" in text
    assert "5 recorded of 6 planned" in text


def test_a_run_of_which_nothing_is_left_still_has_a_report(tmp_path):
    run = shutil.copytree(GOLDEN, tmp_path / "run")
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps(manifest | {"status": "interrupted"}))
    shutil.rmtree(run / "cells")
    page = Page(build_report(run)[0].read_text())
    assert "Verdict: inconclusive" in page.text
    assert "not measured" in page.text
    # Nothing can be replayed, so no script may run.
    assert "script" not in {tag for tag, _ in page.tags}
    assert not [attrs for _, attrs in page.tags if "script-src" in attrs.get("content", "")]


def test_a_report_that_cannot_be_written_is_the_users_error(tmp_path):
    run = shutil.copytree(GOLDEN, tmp_path / "run")
    (run / "summary.json").unlink()
    (run / "summary.json").mkdir()
    with pytest.raises(UserError, match="the report cannot be written"):
        build_report(run)


def test_the_terminal_tells_table_verdict_and_figures(run):
    out = StringIO()
    summary = summarise(read_run(run))
    summary.expectations[0].text = "[bold]as is[/bold]"
    print_summary(summary, Console(file=out, width=120))
    text = out.getvalue()
    for words in (
        "busiest ",
        "4th",
        "round_robin",
        "p99 ms",
        "refuted",
        "[bold]as is[/bold]; measured 1.005 (",
    ):
        assert words in text, words


def test_the_verdict_is_there_before_the_plots(run, tmp_path):
    again = tmp_path / "again"
    shutil.copytree(run, again, ignore=shutil.ignore_patterns("plots", "report.html", "summary.json"))
    told = []

    def judged(folder, summary):
        told.append((summary.verdict, (folder / "summary.json").is_file(), (folder / "report.html").exists()))
        assert not list((folder / "plots").iterdir())

    build_report(again, judged)
    assert told == [("refuted", True, False)]


def test_many_replicas_are_told_by_busiest_median_and_idlest(tmp_path):
    experiment = EXPERIMENT.replace("count: 4", "count: 20").replace("at_least: 1.4}", "at_least: 2}")
    summary = summarise(read_run(synthesise_run(tmp_path, experiment, requests=60)))
    out = StringIO()
    print_summary(summary, Console(file=out, width=120))
    rows = [line.split("│")[1].strip() for line in out.getvalue().splitlines() if line.startswith("│")]
    assert rows[:4] == ["busiest", "median", "idlest", "busiest / fair"]


def test_an_arm_that_sweeps_is_one_arm_a_value(runs, summaries):
    run, summary = read_run(runs["swept"]), summaries["swept"]
    names = [f"{arm}_{n}" for arm in ("sticky", "round_robin") for n in (4, 12, 40)]
    assert list(summary.arms) == [*names, "direct"]
    arm = summary.arms["sticky_12"]
    assert (arm.base, arm.factor, arm.value) == ("sticky", "clients", 12)
    assert "base" not in summary.arms["direct"].model_dump()
    assert summary.verdict == "held"
    page = Page(render_report(run, summary, {}))
    assert "sticky_40" in page.text
    assert "3 things differ between the arms: route, policy, clients" in page.text


@pytest.mark.parametrize(
    ("arms", "words"),
    [
        (
            {"a": "policy: sticky", "b": "policy: sticky, options: {strict: true}"},
            "One thing differs between the arms: options.strict.",
        ),
        (
            {"a": "policy: maglev, options: {key: cookie}", "b": "policy: sticky"},
            "2 things differ between the arms: policy, options. Replicas",
        ),
        (
            {"a": "policy: random", "b": "policy: random, retries: {by: proxy, attempts: 2}"},
            "One thing differs between the arms: retries. Replicas, workload",
        ),
        (
            {"a": "policy: random, clients: 3", "b": "policy: random"},
            "One thing differs between the arms: clients. All else is the same.",
        ),
    ],
)
def test_what_differs_between_the_arms_is_named(tmp_path, arms, words):
    text = stories.experiment({name: f"route: envoy, {fields}" for name, fields in arms.items()})
    assert words in Page(rendered(synthesise_run(tmp_path, text, requests=20))).text


def test_every_unit_and_the_streams_have_columns(runs, summaries):
    text = Page(render_report(read_run(runs["cached"]), summaries["cached"], {})).text
    for words in ("by connections", "by busy time", "on one replica", "cache hits", "group purity"):
        assert words in text, words


def test_errors_and_attempts_are_told_where_there_are_some(runs, summaries, tmp_path):
    text = Page(render_report(read_run(runs["twelve"]), summaries["twelve"], {})).text
    for words in ("How the requests ended", "INTERNAL", "attempts per request"):
        assert words in text, words
    failing = stories.experiment(
        {"only": "route: envoy, policy: random"}, replicas=", fail_share: 0.5, fail_code: INTERNAL"
    )
    assert "INTERNAL" in Page(rendered(synthesise_run(tmp_path, failing, requests=20))).text
    quiet = synthesise_run(tmp_path, stories.LONELY, requests=10)
    assert not any(arm.errors for arm in summarise(read_run(quiet)).arms.values())
    assert "How the requests ended" not in Page(rendered(quiet)).text


def test_envoy_has_no_list_of_requests_where_it_balances_connections(summaries):
    table = ledgers_table(summaries["crowded"].arms, {})
    column = table.head.index("envoy")
    l7, _, l4 = table.rows
    assert l7[column] not in ("0", "–")
    assert l4[column] == l4[table.head.index("only envoy")] == "–"
    assert (l7[-1], l4[-1]) == ("yes", "yes")


@pytest.mark.parametrize("width", [70, 80, 110, 200])
@pytest.mark.parametrize("story", ["twelve", "swept"])
def test_many_arms_are_rows_and_no_figure_is_lost(summaries, story, width):
    summary = summaries[story]
    out = StringIO()
    print_summary(summary, Console(file=out, width=width))
    lines = out.getvalue().splitlines()
    assert all(len(line) <= width for line in lines)
    joined = "".join(line.split("  ")[0].strip() for line in lines)  # names may be folded
    for name, arm in summary.arms.items():
        assert name in joined, name
        p99 = figure(arm.at_least.get("latency_ms.p99", arm.metrics["latency_ms.p99"]))
        assert any(p99 in line.split() for line in lines), (name, p99)
    assert all(any(heading in line for line in lines) for heading in ("purity", "errors", "p50", "p99"))
    if width != 110:
        assert any("median" in line.split() for line in lines) == (width == 200)


def test_five_arms_are_columns(summaries):
    out = StringIO()
    print_summary(summaries["cached"], Console(file=out, width=110))
    assert "replica-3" in out.getvalue(), "an arm has target groups, so that names mean something"
    assert "cache hits" in out.getvalue()


def test_names_of_arms_are_never_broken_at_80_columns(summaries):
    arms = list(summaries["cached"].arms.values())
    named = {f"an_arm_with_a_long_name{number}": arm for number, arm in enumerate(arms)}
    out = StringIO()
    print_summary(summaries["cached"].model_copy(update={"arms": named}), Console(file=out, width=80))
    table = out.getvalue().partition("Requests answered")[2]
    assert all(f" {name} " in table for name in named)


WITHOUT_PLOTS = """
import sys
from pathlib import Path
from harness.report.page import build_report
build_report(Path(sys.argv[1]), plots=False)
print("matplotlib" in sys.modules)
"""


def test_without_plots_the_page_says_how_to_draw_them(run, tmp_path):
    plain = shutil.copytree(GOLDEN, tmp_path / "run")
    command = [sys.executable, "-c", WITHOUT_PLOTS, str(plain)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"  # its import alone takes most of a second
    assert not (plain / "plots").exists()
    page, whole = ((path / "report.html").read_text() for path in (plain, run))
    assert (plain / "summary.json").read_text() == (run / "summary.json").read_text()
    assert "<code>python run_experiment.py report DIR</code> draws them" in page
    assert "All plots" not in page
    assert "draws them" not in whole
    assert "All plots" in whole


def test_names_in_the_lesson_are_shown_as_code(tmp_path):
    lesson = EXPERIMENT.replace("Look at the share", "Look at `spread.max_over_mean`, the share")
    run = synthesise_run(tmp_path, lesson)
    build_report(run, plots=False)
    assert "<p>Look at <code>spread.max_over_mean</code>, the share" in (run / "report.html").read_text()
