"""The pages for teachers: plans, slides, sheets without answers, and the answer key."""

import re
from dataclasses import replace
from itertools import pairwise

import pytest

from harness.record.manifest import MANIFEST, Manifest
from harness.record.record_file import read_record
from harness.record.stored_runs import StoredRun
from harness.site.chosen import Choice, choose_runs
from harness.site.run_facts import RunFacts, read_facts
from harness.site.teacher import ANSWERS, SHEETS, SLIDES, TEACHER, taught, teacher_pages
from harness.site.texts import read_text
from harness.spec.experiment import catalogue
from tests.unit.docs.prose import sentences, words
from tests.unit.synthetic.synthetic_run import GOLDEN

pytestmark = pytest.mark.whole_run


@pytest.fixture(scope="module")
def facts() -> RunFacts:
    return read_facts(StoredRun(GOLDEN, read_record(GOLDEN / MANIFEST, Manifest)))


@pytest.fixture(scope="module")
def pages(facts: RunFacts, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Path -> HTML, with a run of `sticky` alone, whose times do not count."""
    choices = choose_runs(tmp_path_factory.mktemp("no-runs"))
    lessons = [taught(number, *_with_run(choice, facts)) for number, choice in enumerate(choices, 1)]
    return dict(teacher_pages(choices, lessons))


def _with_run(choice: Choice, facts: RunFacts) -> tuple[Choice, RunFacts | None]:
    if choice.experiment.name != "sticky":
        return choice, None
    return replace(choice, run=facts.stored, times_count=False), facts


def section(page: str, name: str) -> str:
    """Return the part of a page that is about the lesson `sticky`."""
    number = [one.name for one in catalogue()].index("sticky") + 1
    return page.partition(f'id="{name}-{number}"')[2].partition("</section>")[0]


def test_every_lesson_has_two_slides_a_sheet_and_an_answer(pages: dict[str, str]) -> None:
    count = len(catalogue())
    assert pages[SLIDES].count('<section class="slide"') == 2 * count
    assert pages[SHEETS].count('<section class="sheet"') == count
    assert pages[ANSWERS].count('<section class="answer"') == count


def test_a_sheet_has_no_answer(pages: dict[str, str], facts: RunFacts) -> None:
    shares = facts.summary.arms["sticky"].share_by_rank
    share = f"{round(100 * shares[0], 1)} %"
    assert share in section(pages[ANSWERS], "answer")
    assert share not in section(pages[SHEETS], "sheet")
    assert section(pages[SHEETS], "sheet").count('class="blank"') == 4 + 2


def test_the_answer_key_has_the_verdicts(pages: dict[str, str], facts: RunFacts) -> None:
    assert facts.summary.expectations
    for finding in facts.summary.expectations:
        assert f"{finding.verdict}: {finding.text}" in section(pages[ANSWERS], "answer")


def test_a_run_whose_times_do_not_count_says_so(pages: dict[str, str]) -> None:
    assert "its times do not count" in section(pages[ANSWERS], "answer")
    assert pages[SLIDES].count("its times do not count") == 1


def test_what_is_missing_is_said(pages: dict[str, str]) -> None:
    assert f"{len(catalogue()) - 1} of {len(catalogue())} lessons have no run yet." in pages[TEACHER]
    assert "Not run yet: <code>python run_experiment.py pick_first</code>" in pages[ANSWERS]


def test_the_plans_fill_their_time() -> None:
    text = read_text("teacher.md")
    spans = [(int(start), int(end)) for start, end in re.findall(r"^\| (\d+)–(\d+) \|", text, re.M)]
    assert spans[0][0] == 0
    assert spans[-1][1] == 120
    assert all(one[1] == other[0] for one, other in pairwise(spans))


def test_no_sentence_is_too_long() -> None:
    assert not [one for one in sentences(read_text("teacher.md")) if words(one) > 30]
