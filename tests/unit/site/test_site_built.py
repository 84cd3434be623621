"""The site is built from stored runs: map, lessons, copied reports, and what is missing."""

import base64
import hashlib
import html
import re
import shutil
from pathlib import Path

import pytest

from harness.cli.main import main
from harness.errors import UserError
from harness.output.safe_text import visible
from harness.record.manifest import MANIFEST, Manifest
from harness.record.prediction import PREDICTION, ArmPrediction, Band, Prediction
from harness.record.record_file import read_record, write_record
from harness.record.stored_runs import StoredRun
from harness.report.finding import finding_of
from harness.site.build import Site, build_site
from harness.site.run_facts import read_facts
from harness.spec.experiment import catalogue, command_of
from harness.spec.heads import CHAPTERS
from tests.unit.synthetic.synthetic_run import GOLDEN

pytestmark = pytest.mark.whole_run


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with one run, of `sticky`."""
    folder = tmp_path_factory.mktemp("results")
    run = folder / "sticky" / GOLDEN.name
    shutil.copytree(GOLDEN, run)
    (run / "report.html").write_text("<p>the report</p>")
    return folder


@pytest.fixture(scope="module")
def site(results: Path) -> Site:
    return build_site(results)


@pytest.fixture(scope="module")
def pages(site: Site) -> dict[str, str]:
    """Path in the site -> text of its pages, without the copied reports."""
    root = site.first_page.parent
    found = {str(path.relative_to(root)): path.read_text() for path in root.rglob("*.html")}
    return {path: text for path, text in found.items() if not path.startswith("reports/")}


def test_it_says_which_runs_are_missing(site: Site) -> None:
    assert site.lessons == 1
    assert site.missing == [command_of(one) for one in catalogue() if one.name != "sticky"]
    assert site.simulated == site.unreadable == []


def test_the_map_has_all_experiments_in_the_one_order(pages: dict[str, str]) -> None:
    links = re.findall(r'<a href="lessons/([^"]+)\.html">', pages["index.html"])
    assert links == [one.name for one in catalogue()]
    headings = re.findall(r"<h2[^>]*>([^<]+)</h2>", pages["index.html"])
    assert headings == [heading for heading, _ in CHAPTERS.values()]


def test_every_link_leads_to_a_page_of_the_site(site: Site, pages: dict[str, str]) -> None:
    root = site.first_page.parent
    checked = 0
    for path, text in pages.items():
        for href in re.findall(r'href="([^"]+)"', text):
            target, _, anchor = href.partition("#")
            if href.startswith("https://"):
                continue
            file = ((root / path).parent / target).resolve() if target else root / path
            assert file.exists(), f"{path}: {href}"
            assert not anchor or f'id="{anchor}"' in file.read_text(), f"{path}: {href}"
            checked += 1
    assert checked > 100


def test_no_page_loads_anything_and_every_script_is_in_its_policy(pages: dict[str, str]) -> None:
    for path, text in pages.items():
        assert not re.search(r"<(link|iframe|object|embed|base)\b|\bsrc=", text), path
        (written,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', text)
        policy = html.unescape(written)
        scripts = re.findall(r'<script type="module">(.*?)</script>', text, re.DOTALL)
        hashes = {base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in scripts}
        assert set(re.findall(r"'sha256-([^']+)'", policy)) == hashes, path
        assert "default-src 'none'" in policy
        assert "unsafe-eval" not in policy


def test_a_lesson_with_a_run_asks_before_it_shows(pages: dict[str, str]) -> None:
    page = pages["lessons/sticky.html"]
    order = [page.index(f">{text}<") for text in ("What will happen?", "The finding", "Why", "Evidence")]
    assert order == sorted(order)
    assert page.index('<div class="after">') < page.index("data-replay")
    assert '<a href="../reports/sticky.html">' in page
    assert '<th scope="col"><abbr title="latency_ms.p99">p99 latency</abbr>, ms</th>' in page


def test_the_simulators_prediction_stands_beside_the_learners(tmp_path: Path) -> None:
    run = tmp_path / "sticky" / GOLDEN.name
    shutil.copytree(GOLDEN, run)
    (metric, *_) = finding_of(read_facts(_stored(run)).summary).metrics
    bands = {metric: Band(low=1.5, median=2.0, high=3.0)}
    predicted = ArmPrediction(not_modelled=[], simulations=39, calibrated=True, overload=0.0, metrics=bands)
    write_record(run / PREDICTION, Prediction(arms={"sticky": predicted}))
    (said,) = read_facts(_stored(run)).simulator_said
    build_site(tmp_path)
    page = html.unescape((tmp_path / "site" / "lessons" / "sticky.html").read_text())
    assert page.index('data-part="comparison"') < page.index(said) < page.index("data-replay")


def _stored(run: Path) -> StoredRun:
    return StoredRun(run, read_record(run / MANIFEST, Manifest))


def test_a_lesson_without_a_run_says_how_to_get_one(pages: dict[str, str]) -> None:
    page = pages["lessons/partition.html"]
    assert "Not run yet" in page
    assert "run_experiment.py partition --testbed docker" in page
    assert 'data-part="form"' not in page
    assert "<h2>Why</h2>" in page


def test_every_lesson_has_a_reason_and_what_it_means_on_an_alb(pages: dict[str, str]) -> None:
    for one in catalogue():
        page = pages[f"lessons/{one.name}.html"]
        assert re.search(r"<h2>Why</h2>\n<p>", page), one.name


def test_the_report_is_copied(site: Site) -> None:
    assert (site.first_page.parent / "reports" / "sticky.html").read_text() == "<p>the report</p>"


def test_pages_have_no_character_that_deceives(pages: dict[str, str]) -> None:
    assert all(visible(text) == text for text in pages.values())


def test_a_damaged_run_becomes_a_missing_one_and_is_named(results: Path, tmp_path: Path) -> None:
    run = tmp_path / "sticky" / GOLDEN.name
    shutil.copytree(GOLDEN, run)
    (run / "experiment.yaml").write_text("title: 1\n")
    site = build_site(tmp_path)
    assert site.lessons == 0
    (line,) = site.unreadable
    assert "experiment.yaml" in line
    assert "Not run yet" in (site.first_page.parent / "lessons" / "sticky.html").read_text()


def test_a_site_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "site").write_text("a file")
    with pytest.raises(UserError, match="expected a folder of the run's own"):
        build_site(tmp_path)
    (tmp_path / "site").unlink()
    (tmp_path / "site" / "index.html").mkdir(parents=True)
    with pytest.raises(UserError, match=r"the site cannot be built \(Is a directory\)"):
        build_site(tmp_path)
    with pytest.raises(UserError, match=r"nowhere: expected the folder that has the runs"):
        build_site(tmp_path / "nowhere")


def test_the_command_names_what_is_missing(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["site", "--results", str(results)]) == 0
    out = capsys.readouterr().out
    count = len(catalogue())
    assert f"Not run yet, {count - 1} of {count} experiments:" in out
    assert "\n  python run_experiment.py pick_first\n" in out
    assert out.rstrip().endswith("site/index.html")
