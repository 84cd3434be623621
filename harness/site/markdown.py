"""Turns Markdown of lessons, exercises and theory into HTML that may stand on a page of the site."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

OWN_PAGE = "site:"  # how links to other pages of the site begin

_MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table")


def to_html(text: str, root: str = "") -> Markup:
    """Return Markdown as HTML; HTML in the text is shown, not obeyed.

    root: the way from the page to the site's first page, as "../". A link "site:theory/zipf.html" leads to
    that page of the site. Links to files of the lab become plain text, and pictures are left out, because the
    site has to stand alone.
    """
    tokens = _MARKDOWN.parse(text)
    for token in tokens:
        if token.children:
            token.children = _kept(token.children, root)
    return Markup(_MARKDOWN.renderer.render(tokens, _MARKDOWN.options, {}))  # noqa: S704 - made of tokens


def _kept(children: Sequence[Token], root: str) -> list[Token]:
    """Return the tokens of a line without pictures, and without the links that lead nowhere."""
    kept: list[Token] = []
    leads: list[bool] = []
    for token in children:
        if token.type == "image":
            continue
        if token.type == "link_open":
            href = _target(token.attrGet("href"), root)
            leads.append(href is not None)
            if href is None:
                continue
            token.attrSet("href", href)
        elif token.type == "link_close" and not leads.pop():
            continue
        kept.append(token)
    return kept


def _target(href: Any, root: str) -> str | None:
    """Return where a link of the page leads; None where the site has no such page."""
    text = str(href)
    if text.startswith(OWN_PAGE):
        return root + text.removeprefix(OWN_PAGE)
    return text if text.startswith(("https://", "#")) else None
