"""Renders the pages of the site. Each one needs no other file, so it opens from disk and offline."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from harness.output.safe_text import visible
from harness.paths import PROGRAM
from harness.report.assets import Script, module_script, style

FOLDER = Path(__file__).parent
ASSETS, TEMPLATES = FOLDER / "assets", FOLDER / "templates"
_REPORT_TEMPLATES = FOLDER.parent / "report" / "templates"


def site_script(entry: str) -> Script:
    """Return a script of the site's own assets with all that it imports."""
    return module_script(entry, ASSETS)


def render(template: str, path: str, values: Mapping[str, Any]) -> str:
    """Return a page as HTML.

    path: where the page will be, from the site's folder; it decides how links lead to other pages. Values:
    those of the template; `scripts` (default: none) are the page's scripts.
    """
    root = "../" * path.count("/")
    page = _environment().get_template(template)
    shared = {
        "root": root,
        "path": path,
        "site_style": style("page.css") + style("site.css", ASSETS),
        "scripts": [],
        "program": PROGRAM,
    }
    return visible(page.render({**shared, **values}))


def macro(template: str, name: str) -> Callable[..., Markup]:
    """Return a macro of a template, as a function that returns HTML."""
    found: Callable[..., Markup] = getattr(_environment().get_template(template).module, name)
    return found


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader([TEMPLATES, _REPORT_TEMPLATES]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
