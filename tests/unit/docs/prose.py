"""Cuts hand-written pages into sentences, to measure how long they are."""

import re

_FENCE = re.compile(r"^```.*?^```\n?", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_INLINE_CODE = re.compile(r"`[^`]+`")
_PICTURE = re.compile(r"!\[([^\]]*)\]\([^)]*\)")
_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")
_ITEM = re.compile(r"^\s*(?:[-*+]|\d+\.)\s+|^#+\s+")
_END = re.compile(r"(?<=[.!?])[)\"*_]*\s+(?=[\"(*_]*[A-Z0-9`]|gRPC|[a-z]+[_/][a-z])|(?<=\.\.\.)\s+")
_ABBREVIATION = re.compile(r"\b(e\.g|i\.e|etc|vs|cf)\.")


def paragraphs(markdown: str) -> list[str]:
    """Return the paragraphs, headings, list items and table cells of a page, without code and link targets.

    A piece of inline code counts as one word: it becomes ``code``. A semicolon divides a cell of a table.
    """
    text = _COMMENT.sub("", _FENCE.sub("\n\n", markdown))
    text = _LINK.sub(r"\1", _PICTURE.sub(r"\n\n\1\n\n", text))
    text = _ABBREVIATION.sub(r"\1", _INLINE_CODE.sub("`code`", text))
    found: list[list[str]] = [[]]
    for line in text.splitlines():
        if line.lstrip().startswith("|"):
            found += [[part] for part in re.split(r"[|;]", line.strip().strip("|"))] + [[]]
        elif not line.strip() or line.startswith("    "):
            found.append([])
        elif _ITEM.match(line):
            found += [[_ITEM.sub("", line)]] + ([[]] if line.startswith("#") else [])
        else:
            found[-1].append(line.strip())
    joined = (" ".join(lines).strip() for lines in found)
    return [paragraph for paragraph in joined if re.search(r"\w", paragraph)]


def sentences(markdown: str) -> list[str]:
    """Return the sentences of a page in their order."""
    return [sentence for paragraph in paragraphs(markdown) for sentence in _END.split(paragraph) if sentence]


def words(sentence: str) -> int:
    """Return the number of words: a figure and a piece of inline code are one word each."""
    return sum(1 for word in sentence.split() if re.search(r"\w", word))
