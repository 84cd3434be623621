"""The project uses one word for one thing: words that were retired do not come back."""

import re
import subprocess
from pathlib import Path

from harness.paths import ROOT

# Retired word -> what it is called now. Whole words, in code and in texts, capitals as they stand.
RETIRED = {
    "doings": "event actions",
    "DOINGS": "EVENT_KINDS",
    "Orchestra": "LoadEngine",
    "orchestra": "load engine",
    "cues": "phases",
    "MastersCues": "PhaseGate",
    "readback": "channelz",
    "Unlike": "ReplicaOverrides",
    "strangers": "external replicas",
    "Strangers": "ExternalReplicas",
    "misfit": "incompatibility",
    "CellSite": "CellContext",
    "incidents": "event effects",
    "blame": "failure attribution",
    "torn": "incomplete ledger",
    "how-manieth": "number of",
    "told.py": "notification",
}
HISTORY = ("CHANGELOG.md", "docs/decisions/", "tests/unit/docs/test_terminology.py")


def texts() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "*.py", "*.md", "*.yaml", "*.yml", "*.j2", "*.toml", "Makefile"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    names = [name for name in listed.stdout.split("\0") if name]
    return [ROOT / name for name in names if not name.startswith(HISTORY)]


def places_of(word: str, path: Path, text: str) -> list[str]:
    """Return "file:line: ..." for each line that has the word."""
    if word not in text:  # hardly a file has one
        return []
    pattern = re.compile(rf"(?<![\w-]){re.escape(word)}(?![\w-])")
    return [
        f"{path.relative_to(ROOT)}:{number}: say {RETIRED[word]!r} instead of {word!r}"
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]


def test_a_retired_word_stands_nowhere() -> None:
    found = []
    for path in texts():
        text = path.read_text()
        for word in RETIRED:
            found += places_of(word, path, text)
    assert found == []
