"""The page's scripts and styles: whole, in one piece, and readable in both themes."""

import base64
import hashlib
import re
from itertools import chain

import pytest

from harness.report.assets import ASSETS, module_script, style

ENTRIES = {"replay": "replay_player.js", "whatif": "whatif_panel.js"}
MODULES = {
    entry: sorted(path.name for path in ASSETS.glob(f"{family}_*.js")) for family, entry in ENTRIES.items()
}
EACH = pytest.mark.parametrize("entry", MODULES)


def test_every_module_belongs_to_a_script():
    assert sorted(chain.from_iterable(MODULES.values())) == sorted(path.name for path in ASSETS.glob("*.js"))


@EACH
def test_all_modules_stand_in_one_script_each_after_those_it_imports(entry):
    text = module_script(entry).text
    places = {name: text.index(f"// {name}\n") for name in MODULES[entry]}
    for name in MODULES[entry]:
        for imported in re.findall(r'from "\./(\w+\.js)"', style(name)):
            assert places[imported] < places[name], f"{imported} stands after {name}"
    assert not re.search(r"^(import|export)\b", text, re.MULTILINE)


@EACH
def test_only_comments_and_indents_are_left_out(entry):
    text = module_script(entry).text
    code = [line.strip() for name in MODULES[entry] for line in style(name).splitlines()]
    kept = set(text.splitlines())
    missing = [line for line in code if line.removeprefix("export ") not in kept]
    assert all(re.match(r"(//|/\*|\*|import |$)", line) for line in missing), missing
    assert not [line for line in kept if line.startswith(("*", "/*"))]


@EACH
def test_no_name_stands_twice_at_the_top_level(entry):
    text = "".join(map(style, MODULES[entry]))
    names = re.findall(r"^(?:export )?(?:async )?(?:const|let|var|function|class) (\w+)", text, re.MULTILINE)
    assert len(names) > 30
    assert sorted(set(names)) == sorted(names)


@EACH
def test_the_hash_is_that_of_the_text(entry):
    script = module_script(entry)
    digest = base64.b64encode(hashlib.sha256(script.text.encode()).digest()).decode()
    assert script.csp_hash == f"'sha256-{digest}'"


@EACH
def test_a_script_can_stand_in_a_page(entry):
    text = module_script(entry).text
    assert "</script" not in text
    assert "<!--" not in text


def test_modules_that_import_each_other_are_refused(tmp_path):
    (tmp_path / "one_of_two.js").write_text('import { b } from "./two_of_two.js";\n')
    (tmp_path / "two_of_two.js").write_text('import { a } from "./one_of_two.js";\n')
    with pytest.raises(AssertionError, match="imports itself by way of two"):
        module_script("one_of_two.js", tmp_path)


def colours(theme):
    """The custom properties of the replay: name -> (red, green, blue), 0 to 255."""
    light, dark = style("replay.css").split("@media (prefers-color-scheme: dark)")
    found = dict(re.findall(r"--replay-([\w-]+): (#[0-9a-f]{6})", light if theme == "light" else dark))
    return {name: tuple(bytes.fromhex(value[1:])) for name, value in found.items()}


def luminance(colour):
    """The relative luminance of a colour, 0 to 1. Source: WCAG 2.2, "relative luminance"."""
    parts = [value / 255 for value in colour]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    """The contrast ratio of two colours, 1 to 21. Source: WCAG 2.2, "contrast ratio"."""
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_what_is_drawn_stands_out_from_the_page(theme):
    """Text 4.5, graphics 3 (WCAG 2.2, criteria 1.4.3 and 1.4.11). axe-core cannot look into a canvas."""
    found = colours(theme)
    drawn = [name for name in found if name.startswith("client-") or name in ("rest", "answered", "failed")]
    assert len(drawn) == 12
    for name in (*drawn, "left", "right"):
        assert contrast(found[name], found["page"]) >= 3, name
    for name in ("text", "faint", "alarm"):
        for ground in ("page", "soft"):
            assert contrast(found[name], found[ground]) >= 4.5, (name, ground)
    # The busiest clients have their share written into their circle.
    assert contrast(found["client-0"], found["page"]) >= 4.5


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_both_themes_have_all_colours(theme):
    assert set(colours(theme)) == set(colours("light"))
