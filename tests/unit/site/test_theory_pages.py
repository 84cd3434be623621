"""The theory pages: formulas that are right, figures from runs, and sources."""

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.record.manifest import MANIFEST, Manifest
from harness.record.record_file import read_record
from harness.record.stored_runs import StoredRun
from harness.site.chosen import choose_runs
from harness.site.run_facts import read_facts
from harness.site.theory import theories, theory_pages
from harness.site.theory_figures import (
    FIGURES,
    Row,
    erlang_c,
    figures_from,
    percentile_ranks,
    under_way,
    zipf_shares,
)
from tests.unit.docs.prose import sentences
from tests.unit.synthetic.synthetic_run import GOLDEN

pytestmark = pytest.mark.whole_run

MAX_WORDS = 30
NAMES = list(FIGURES)


@given(st.floats(0.01, 0.99))
def test_with_one_slot_the_probability_to_wait_is_the_utilisation(rho: float) -> None:
    assert math.isclose(erlang_c(1, rho), rho)


def test_erlang_c_has_the_values_of_the_tables() -> None:
    assert math.isclose(erlang_c(2, 1.5), 9 / 14)
    assert math.isclose(erlang_c(5, 4), 0.5541, abs_tol=1e-4)


@given(st.integers(1, 200), st.floats(0, 3))
def test_zipf_shares_add_up_and_fall(clients: int, exponent: float) -> None:
    shares = zipf_shares(clients, exponent)
    assert math.isclose(sum(shares), 1)
    assert shares == sorted(shares, reverse=True)
    assert math.isclose(shares[0] / shares[-1], clients**exponent, rel_tol=1e-9)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=30), st.integers(0, 110))
def test_requests_under_way_are_those_sent_and_not_done(calls: list[tuple[int, int]], moment: int) -> None:
    sent = np.array([start for start, _ in calls], dtype=np.int64)
    done = np.array([start + length for start, length in calls], dtype=np.int64)
    expected = sum(start <= moment < start + length for start, length in calls)
    assert under_way(sent, done, np.array([float(moment)])).tolist() == [expected]


@given(st.integers(1, 100_000), st.floats(0.01, 0.999))
def test_the_ranks_of_a_percentile_are_ranks_around_it(count: int, q: float) -> None:
    low, high = percentile_ranks(count, q)
    assert 1 <= low <= high <= count or (count == 1 and low == high == 1)
    assert low <= max(1, count * q) and high >= min(count, math.floor(count * q))


def test_the_ranks_of_a_thousand_are_those_of_the_page() -> None:
    assert percentile_ranks(1000, 0.99) == (983, 997)


@pytest.mark.parametrize("page", theories(), ids=NAMES)
def test_a_page_has_a_formula_figures_lessons_and_sources(page) -> None:
    assert page.summary
    assert re.search(r"^\*\*.+\*\*", page.text, re.M)
    assert "\n{{ figures }}\n" in page.text
    assert "{{ lesson(" in page.text
    assert re.search(r"## Sources\n- .+\d{4}|## Sources\n- .+\n.+\d{4}", page.text)


@pytest.mark.parametrize("page", theories(), ids=NAMES)
def test_a_page_has_no_sentence_that_is_too_long(page) -> None:
    long = [one for one in sentences(page.text.partition("## Sources")[0]) if len(one.split()) > MAX_WORDS]
    assert not long


def test_the_figures_of_a_run_stand_on_its_pages(tmp_path) -> None:
    facts = read_facts(StoredRun(GOLDEN, read_record(GOLDEN / MANIFEST, Manifest)))
    rows = figures_from(facts)
    assert set(rows) == {page for page, one in FIGURES.items() if one.experiment == "sticky"}
    (first, *_) = rows["zipf"]
    assert first.formula == "1/1 / H = 32.2%"
    assert abs(float(first.measured.rstrip("%")) - 32.2) < 8
    assert [row.where for row in rows["littles-law"]] == ["sticky", "round robin"]


def test_without_a_run_the_page_says_how_to_get_one(tmp_path) -> None:
    pages = dict(theory_pages(choose_runs(tmp_path), {"zipf": [Row("a", "b", "c")]}))
    assert list(pages) == ["theory/index.html", *(f"theory/{name}.html" for name in NAMES)]
    for name in NAMES:
        page = pages[f"theory/{name}.html"]
        assert "Not measured yet: run <code>python run_experiment.py " in page
        assert "{{" not in page


def test_text_of_a_run_is_not_read_as_markdown() -> None:
    from harness.site.markdown import to_html
    from harness.site.theory import _cell

    hostile = "a|b *c* _d_ `e` <script> [x](https://y)"
    row = f"| h |\n|---|\n| {_cell(hostile)} |"
    assert "<td>a|b *c* _d_ `e` &lt;script&gt; [x](https://y)</td>" in to_html(row)
