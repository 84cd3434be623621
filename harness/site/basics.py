"""The page of the basics of gRPC: texts/basics.md, with sequence diagrams of recorded exchanges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from harness.paths import PROGRAM
from harness.site.chosen import Choice
from harness.site.markdown import to_html
from harness.site.pages import macro, render
from harness.site.sequence import METHODS, Exchange
from harness.site.texts import filled, read_text

BASICS = "basics.html"


def basics_page(choices: Sequence[Choice], exchanges: Mapping[str, Exchange]) -> str:
    """Return the page as HTML. exchanges: method -> a recorded exchange of it."""
    body = to_html(filled(read_text("basics.md"), choices))
    for method in METHODS:
        body = body.replace(f"<p>[[{method}]]</p>", _diagram(method, exchanges.get(method)))
    return render("article.html.j2", BASICS, {"title": "Basics of gRPC", "body": body})


def _diagram(method: str, exchange: Exchange | None) -> Markup:
    """Return the diagram of a method's exchange, or how to record one."""
    if exchange is None:
        return Markup(
            "<p><em>No {0} was recorded yet: run <code>{1} round_robin</code>, then "
            "<code>{1} site</code>.</em></p>"
        ).format(method, PROGRAM)
    return macro("parts.html.j2", "sequence_diagram")(exchange)
