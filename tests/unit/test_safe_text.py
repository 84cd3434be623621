"""What a terminal would obey is shown instead; all else stays as it is."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.output.safe_text import first_unsafe, visible

BIDIRECTIONAL = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
ANY_TEXT = st.text(st.characters(exclude_categories=()))


def is_obeyed(character: str) -> bool:
    """Whether a terminal or a page obeys the character, by Unicode's own properties."""
    if character in "\n\t":
        return False
    # U+061C, U+200E, U+200F mark a direction too, but their class is that of a letter.
    marked = character in "\u061c\u200e\u200f" or unicodedata.bidirectional(character) in BIDIRECTIONAL
    return marked or unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")


def test_exactly_what_would_be_obeyed_is_unsafe() -> None:
    characters = map(chr, range(0x110000))
    assert [c for c in characters if (first_unsafe(c) is not None) != is_obeyed(c)] == []


@given(ANY_TEXT)
def test_nothing_that_is_obeyed_is_left(text: str) -> None:
    shown = visible(text)
    assert first_unsafe(shown) is None
    assert len(shown) == len(text)
    assert visible(shown) == shown
    shown.encode()  # lone surrogates, as in file names that are not UTF-8, cannot be written


@given(ANY_TEXT.filter(lambda text: not any(map(is_obeyed, text))))
def test_harmless_text_stays_as_it_is(text: str) -> None:
    assert visible(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;title\x07", "␛]0;title␇"),
        ("a\x00b\x7fc\x9bd", "a␀b␡c\ufffdd"),
        ("\u202egnp.exe", "\ufffdgnp.exe"),
        ("file-\udcff", "file-\ufffd"),
        ("a\r\nb\tc", "a␍\nb\tc"),
        ("日本語 é 👩‍💻 [bold]", "日本語 é 👩‍💻 [bold]"),
    ],
)
def test_examples(text: str, shown: str) -> None:
    assert visible(text) == shown


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a\x1b", "control character U+001B"),
        ("\u202e", "bidirectional character U+202E"),
        ("\udcff", "half of a surrogate pair, U+DCFF"),
        ("\u2028", "line separator U+2028"),
        ("a\n", None),
    ],
)
def test_the_first_one_is_named(text: str, words: str | None) -> None:
    assert first_unsafe(text) == words
