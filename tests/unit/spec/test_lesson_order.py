"""The order of the lessons: by chapter, and each experiment after the one it builds on."""

import pytest

from harness.cli.main import listing
from harness.errors import UserError
from harness.paths import EXPERIMENTS
from harness.spec import experiment as module
from harness.spec.experiment import catalogue, load_experiment
from harness.spec.heads import BEGIN_WITH, CHAPTERS, experiment_names


def test_every_experiment_is_there_once() -> None:
    assert sorted(one.name for one in catalogue()) == experiment_names()


def test_the_list_suggests_a_lesson_that_needs_no_other() -> None:
    (first,) = (one for one in catalogue() if one.name == BEGIN_WITH)
    assert first.teaching is not None
    assert first.teaching.after is None
    assert f"Run one:     python run_experiment.py {BEGIN_WITH}\n" in listing("python run_experiment.py")


def test_chapters_come_in_their_order() -> None:
    chapters = list(CHAPTERS)
    places = [chapters.index(one.teaching.chapter) for one in catalogue() if one.teaching]
    assert places == sorted(places)
    assert set(places) == set(range(len(chapters)))


def test_an_experiment_comes_after_the_one_of_its_chapter_that_it_builds_on() -> None:
    place = {one.name: number for number, one in enumerate(catalogue())}
    chapter = {one.name: one.teaching.chapter for one in catalogue() if one.teaching}
    checked = 0
    for one in catalogue():
        before = one.teaching.after if one.teaching else None
        if before is not None and chapter[before] == chapter[one.name]:
            assert place[before] < place[one.name]
            checked += 1
    assert checked > 10


@pytest.fixture
def own_experiments(tmp_path, monkeypatch):
    """Return a function that makes a catalogue of experiments from name -> the one it comes after."""

    def make(after: dict[str, str | None]) -> None:
        good = (EXPERIMENTS / "pick_first.yaml").read_text()
        assert "  chapter: one_connection\n" in good
        for name, before in after.items():
            line = f"  after: {before}\n" if before else ""
            text = good.replace("  chapter: one_connection\n", f"  chapter: one_connection\n{line}")
            (tmp_path / f"{name}.yaml").write_text(text)
        monkeypatch.setattr(module, "experiment_names", lambda: sorted(after))
        monkeypatch.setattr(
            module, "load_experiment", lambda name: load_experiment(str(tmp_path / f"{name}.yaml"))
        )
        catalogue.cache_clear()

    yield make
    catalogue.cache_clear()


def test_after_decides_the_order_and_the_name_among_equals(own_experiments) -> None:
    own_experiments({"a": "d", "b": None, "c": None, "d": "c"})
    assert [one.name for one in catalogue()] == ["c", "d", "a", "b"]


def test_an_after_that_does_not_exist_is_named(own_experiments) -> None:
    own_experiments({"a": "zz"})
    with pytest.raises(UserError, match=r"experiments/a.yaml: teaching.after: 'zz'"):
        catalogue()


def test_a_circle_is_named(own_experiments) -> None:
    own_experiments({"a": "b", "b": "a"})
    with pytest.raises(UserError, match=r"teaching.after: leads back to"):
        catalogue()


def test_the_list_fits_80_columns_and_cuts_no_question() -> None:
    lines = listing("python run_experiment.py").splitlines()
    assert max(map(len, lines)) <= 80
    flat = " ".join(" ".join(lines).split())
    for one in catalogue():
        assert " ".join(one.question.split()) in flat
