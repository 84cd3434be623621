"""Turns a plot that matplotlib drew into SVG that stands in the page itself, small and in its colours.

Text stays text, so that it can be selected and searched. What is black, grey or white follows the page's
theme by CSS variables; the colours of replicas, arms and units stay.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from xml.etree import ElementTree as ET

from markupsafe import Markup, escape

_SVG, _XLINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}"
# What matplotlib writes -> what follows the theme. The page declares the variables: assets/page.css.
_THEMED = {
    **dict.fromkeys(("#000000", "#222222", "#333333"), "currentColor"),
    "#ffffff": "var(--page)",
    "#cccccc": "var(--line)",
    # Too dark for a dark page.
    "#332288": "var(--plot-indigo)",
    "#882255": "var(--plot-wine)",
}
_USE = f"{_SVG}use"
_NOT_NEEDED = (f"{_SVG}metadata", f"{_SVG}style")
_NUMBER = re.compile(r"-?\d+\.\d+(?:e-?\d+)?")
_REFERENCE = re.compile(r"#([\w.-]+)")


def inline_svg(name: str, svg: str, title: str, description: str) -> Markup:
    """Return the plot's SVG as an element of the page. `name`: its ids begin with that, so they are unique.

    `title` and `description` are what is read aloud.
    """
    root = ET.fromstring(svg)  # noqa: S314 - written by matplotlib, a moment ago
    view_box = root.attrib["viewBox"]
    used = set(_references(root))
    found = [one.attrib["id"] for one in root.iter() if one.get("id") in used]
    ids = {own: f"{name}-{number}" for number, own in enumerate(found)}
    named = f"{name}-title", f"{name}-desc"
    parts = [
        f'<svg viewBox="{view_box}" role="img" aria-labelledby="{named[0]} {named[1]}">',
        f'<title id="{named[0]}">{escape(title)}</title><desc id="{named[1]}">{escape(description)}</desc>',
        *_children(root, ids, fine=False),
        "</svg>",
    ]
    return Markup("".join(parts))  # noqa: S704 - all text in it is escaped


def _references(root: ET.Element) -> Iterator[str]:
    for element in root.iter():
        for key in (f"{_XLINK}href", "clip-path", "style"):
            yield from _REFERENCE.findall(element.get(key, ""))


def _children(element: ET.Element, ids: Mapping[str, str], *, fine: bool) -> Iterator[str]:
    """Yield the children as text. Alike marks that follow each other get their style from a group."""
    for style, alike in groupby(element, key=lambda child: child.tag == _USE and child.get("style")):
        marks = list(alike)
        if not style or len(marks) == 1:
            for child in marks:
                yield from _written(child, ids, fine=fine)
            continue
        yield f"<g{_words(_style(style, ids))}>"
        for mark in marks:
            del mark.attrib["style"]
            yield from _written(mark, ids, fine=fine)
        yield "</g>"


def _written(element: ET.Element, ids: Mapping[str, str], *, fine: bool) -> Iterator[str]:
    """Yield the element as text. A group without attributes is left out, its children are not.

    ids: id in matplotlib's file -> id in the page, of what is referred to. fine: within definitions, where
    shapes are small: two decimals, else one.
    """
    if element.tag in _NOT_NEEDED:
        return
    tag = element.tag.removeprefix(_SVG)
    fine = fine or tag == "defs"
    attributes = dict(_attributes(element, ids, fine))
    inner = "".join([str(escape((element.text or "").strip())), *_children(element, ids, fine=fine)])
    if tag in ("g", "defs") and (not inner or (tag == "g" and not attributes)):
        yield inner
        return
    words = _words(attributes.items())
    yield f"<{tag}{words}>{inner}</{tag}>" if inner else f"<{tag}{words}/>"


def _words(attributes: Iterable[tuple[str, str]]) -> str:
    return "".join(f' {key}="{escape(value)}"' for key, value in attributes)


def _attributes(element: ET.Element, ids: Mapping[str, str], fine: bool) -> Iterator[tuple[str, str]]:
    for qualified, value in element.attrib.items():
        key = qualified.removeprefix(_XLINK)
        if key == "id":
            if value in ids:
                yield key, ids[value]
        elif key == "style":
            yield from _style(value, ids)
        elif key == "href" and value.startswith("data:"):
            yield key, "".join(value.split())
        elif key in ("href", "clip-path"):
            yield key, _own(value, ids)
        elif key == "transform":
            if not value.startswith("rotate(-0 "):
                yield key, _rounded(value, fine=True)
        elif key in ("d", "x", "y", "width", "height", "points"):
            yield key, _rounded(" ".join(value.split()), fine=fine)
        else:
            yield key, value


def _style(style: str, ids: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the style's properties as attributes; the page says which fonts there are."""
    for part in filter(None, (part.strip() for part in re.split(r";(?![^(]*\))", style))):
        key, value = (word.strip() for word in part.split(":", 1))
        if key != "font-family":
            yield key, _THEMED.get(value, _own(value, ids))


def _own(value: str, ids: Mapping[str, str]) -> str:
    """Return a reference to a part of the same plot; any other value as it is."""
    return _REFERENCE.sub(lambda found: f"#{ids.get(found[1], found[1])}", value)


def _rounded(text: str, *, fine: bool) -> str:
    digits = 2 if fine else 1
    return _NUMBER.sub(lambda match: f"{float(match[0]):.{digits}f}".rstrip("0").rstrip("."), text)
