"""Text without what a terminal or a browser obeys instead of showing: control and bidirectional characters.

Experiment files and the command line may not have such characters. What comes from elsewhere, as file names
and old records do, is printed and written into the report in a form that only shows them. All that the lab
prints goes through `say` or SafeConsole (safe_console.py).
"""

import re
import sys

# Control characters without tab and line feed; line and paragraph separators; what sets the writing direction
# (Unicode TR 9); halves of surrogate pairs, which no encoding has.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_PICTURES = 0x2400  # Unicode has a picture of each control character of ASCII: U+241B for U+001B
_DELETE, _PICTURE_OF_DELETE, _UNKNOWN = "\x7f", "\u2421", "\ufffd"


def visible(text: str) -> str:
    """Return the text with a picture, or else U+FFFD, in the place of each unsafe character."""
    return _UNSAFE.sub(_shown, text)


def _shown(match: re.Match[str]) -> str:
    character = match[0]
    if character < " ":
        return chr(_PICTURES + ord(character))
    return _PICTURE_OF_DELETE if character == _DELETE else _UNKNOWN


def first_unsafe(text: str) -> str | None:
    """Return the first unsafe character in words, as "control character U+001B"; None without any."""
    match = _UNSAFE.search(text)
    if match is None:
        return None
    code = ord(match[0])
    if code < 0xA0:
        kind = "control character"
    elif code in (0x2028, 0x2029):
        kind = "line separator"
    elif 0xD800 <= code <= 0xDFFF:
        kind = "half of a surrogate pair,"
    else:
        kind = "bidirectional character"
    return f"{kind} U+{code:04X}"


def say(text: str, *, error: bool = False) -> None:
    """Print lines of text on stdout, or on stderr if `error`."""
    print(visible(text), file=sys.stderr if error else sys.stdout, flush=True)
