"""A log whose strings try to do harm, and a command line that observes it."""

from pathlib import Path

import pytest

from docs.examples.alb_log import Traffic, line_of, requests_of

ESCAPE = "\x1b[31m\x1b]0;owned\x07"
FORMULA = "=cmd|'/C calc'!A0"
HTML = "<script>alert(1)</script><img/src=x>"


@pytest.fixture
def harmful_log(tmp_path: Path) -> Path:
    """Targets and clients that are terminal escapes, formulas and HTML; broken lines with all of them."""
    names = [
        f"{ESCAPE}:80",
        f"{FORMULA.replace(' ', '')}:80",
        f"{HTML.replace(' ', '')}:80",
        "$x^{_y$:80",
        "_z:80",
    ]
    lines = [
        line_of(one)
        .replace(f"192.0.2.{10 + one.target}:8080", names[one.target])
        .replace("grpc-python", HTML)
        for one in requests_of(Traffic(requests=300, clients=9, targets=5))
    ]
    lines += [f"{FORMULA} {HTML} {ESCAPE}\n", f"{ESCAPE}\n"]
    path = tmp_path / "harmful.log"
    path.write_text("".join(lines))
    return path
