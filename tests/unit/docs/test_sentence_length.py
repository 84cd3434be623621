"""Hand-written pages and experiment files have short sentences."""

from itertools import chain
from pathlib import Path

import pytest
import yaml

from harness.paths import ROOT
from tests.unit.docs.prose import sentences, words

MAX_WORDS = 30
MAX_MEAN_WORDS = 14
HISTORY = ("CHANGELOG.md",)
PAGES = sorted(
    str(page.relative_to(ROOT))
    for page in chain(ROOT.glob("*.md"), ROOT.glob("docs/**/*.md"))
    if page.is_file()
)
EXPERIMENTS = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("experiments/*.yaml"))


def text_of(name: str) -> str:
    """Return the prose of a page, or of an experiment file, as Markdown."""
    text = (ROOT / name).read_text()
    if Path(name).suffix != ".yaml":
        return text
    keys = yaml.safe_load(text)
    teaching = keys["teaching"]
    return "\n\n".join(
        [
            *(keys[name] for name in ("title", "question", "lesson")),
            *(teaching[name] for name in ("read", "exercise", "answer") if name in teaching),
        ]
    )


@pytest.mark.parametrize("name", [name for name in PAGES + EXPERIMENTS if name not in HISTORY])
def test_sentences_are_short(name: str) -> None:
    found = sentences(text_of(name))
    assert [sentence for sentence in found if words(sentence) > MAX_WORDS] == []
    assert sum(map(words, found)) / len(found) <= MAX_MEAN_WORDS


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One two. Three `a b c`!", ["One two.", "Three `code`!"]),
        ("# Heading\nOne\ntwo (see [a page](x.md)). Three.", ["Heading", "One two (see a page).", "Three."]),
        ("- one\n- two\n  three", ["one", "two three"]),
        ("| a | b; c |\n|---|---|", ["a", "b", "c"]),
        ("It is 2.5 s. gRPC waits, e.g. here.", ["It is 2.5 s.", "gRPC waits, e.g here."]),
        ("```sh\nno prose. none\n```\n![A plot](p.png)\nOne.", ["A plot", "One."]),
    ],
)
def test_markdown_is_cut_into_sentences(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected


def test_words_are_counted_with_code_as_one() -> None:
    assert words(sentences("Set `a: [1, 2]` to 2.5 %.")[0]) == 4
