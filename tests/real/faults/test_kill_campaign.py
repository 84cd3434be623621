"""A short campaign of kills. The long one is a program: python -m tests.real.faults.kill_campaign."""

import os
from pathlib import Path

import pytest
from kill_campaign import counts, try_cases
from kill_cases import draw_case, targets_of

KILLS = int(os.environ.get("LB_LAB_KILLS", "4"))
SEED = 8


@pytest.mark.timeout(60 + 60 * KILLS)
def test_a_signal_to_any_process_at_any_moment(tmp_path: Path) -> None:
    outcomes = list(try_cases(SEED, range(KILLS), 1, tmp_path))
    wrong = [outcome for outcome in outcomes if outcome["findings"]]
    assert not wrong, f"repeat one with: python -m tests.real.faults.kill_campaign {SEED} NUMBER"
    assert counts(outcomes).startswith(f"{KILLS} cases, 0 with findings")


def test_a_case_follows_from_seed_and_number() -> None:
    cases = [draw_case(SEED, number) for number in range(500)]
    assert cases == [draw_case(SEED, number) for number in range(500)]
    assert {(case.kind, case.target) for case in cases} == {
        (kind, target) for kind in ("plain", "events", "processes", "up") for target in targets_of(kind)
    }
