"""The tables that compare load generators, from invented measurements."""

from pathlib import Path

import pytest

from bench.generator_page import Found, costs, most, ratios, write_page
from bench.peers import PEERS

PAGE = Path(__file__).resolve().parents[3] / "docs" / "generator.md"


def found(peer: str, cpu_us: float, kept: float = 1.0, rate_per_s: int = 600) -> Found:
    made = (rate_per_s or 1000) * kept
    late = {"p50": 0.1, "p99": 1.0} if peer == "lab" else {}
    return Found(peer, rate_per_s, made, cpu_us, late, 0.25)


ROUNDS = [found("lab", 100), found("ghz", 200), found("ghz", 80), found("lab", 120)]


def test_a_ratio_is_of_the_two_measurements_of_one_round() -> None:
    assert ratios(ROUNDS, "ghz", 600) == [0.5, 1.5]
    assert ratios(ROUNDS, "ghz", 300) == []


def test_a_round_in_which_a_tool_did_not_keep_the_rate_is_not_compared() -> None:
    slow = [*ROUNDS, found("lab", 50), found("ghz", 10, kept=0.8)]
    assert ratios(slow, "ghz", 600) == [0.5, 1.5]
    assert [row[-1] for row in costs(slow, PEERS)] == ["", "1.00 (0.50 to 1.50), 2 of 3 rounds"]
    (_, never) = costs([found("lab", 100, kept=0.5), found("ghz", 100)], PEERS)
    assert never[-1] == "rate not kept"


def test_in_a_closed_loop_there_is_no_rate_to_keep() -> None:
    closed = [found("lab", 200, rate_per_s=0), found("ghz", 100, rate_per_s=0)]
    assert ratios(closed, "ghz", 0) == [2.0]
    assert [(row[0], row[1], row[-1]) for row in most(closed, PEERS)] == [
        ("lab", "5,000 (5,000 to 5,000)", ""),
        ("ghz", "10,000 (10,000 to 10,000)", "2.00 (2.00 to 2.00)"),
    ]


def test_the_page_gets_new_rows_and_keeps_its_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, words = tmp_path / "generator.md", PAGE.read_text()
    page.write_text(words)
    write_page(page, [*ROUNDS, found("lab", 200, rate_per_s=0)], PEERS)
    text = page.read_text()
    assert "| 600 | ghz | 100 (100 to 100) | 140 (80 to 200) | 1.00 (0.50 to 1.50) |" in text
    assert "0.25 (0.25 to 0.25) |" in text
    assert [line for line in text.splitlines() if line[:1] not in ("|", "")] == [
        line for line in words.splitlines() if line[:1] not in ("|", "")
    ]
    assert "600 | ghz" in capsys.readouterr().out
