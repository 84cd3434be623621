"""prediction.json: what the simulator expected before the first cell of a run was measured."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from harness.record.record_file import Record, read_record, there_is
from harness.record.summary import Figure

PREDICTION = "prediction.json"
# Why a run has no prediction. At a terminal the next one has: see harness.run.prediction.compile_when_idle.
NOT_COMPILED = (
    "the simulator is not compiled yet; a run with `--testbed simulated` does it, once for each version"
)
BAND_SHARE = 0.9  # of the simulated cells that lie in a band


class Band(Record):
    """What one metric of one cell is expected to be."""

    low: Figure = Field(description="one cell in twenty is expected below this; null: infinity")
    median: Figure = Field(description="median of the simulated cells; null: infinity")
    high: Figure = Field(description="one cell in twenty is expected above this; null: infinity")


class ArmPrediction(Record):
    """What the simulator expected of the cells of one arm."""

    not_modelled: list[str] = Field(
        description="parts of the arm that the simulator does not have; then there is no band"
    )
    simulations: int = Field(description="how many cells were simulated, each with arrivals and placements")
    calibrated: bool = Field(
        description="whether the bands have the fixed costs of this machine; without them a latency is "
        "expected some milliseconds too short"
    )
    overload: float | None = Field(
        description="share of the simulated cells in which some replica got more requests than it can serve; "
        "null without simulations"
    )
    metrics: dict[str, Band] = Field(description="metric -> its band")


class Prediction(Record):
    """What the simulator expected of a run. Written before its first cell, and never again."""

    skipped: str | None = Field(default=None, description="why nothing was predicted; else null")
    band_share: float = Field(
        default=BAND_SHARE, description="share of the simulated cells that lie in a band"
    )
    costs: str = Field(default="", description="where the fixed costs of proxy and network come from")
    arms: dict[str, ArmPrediction] = Field(default={}, description="arm as run -> what was expected")


def read_prediction(run: Path) -> Prediction | None:
    """Return the prediction of a run; None for one that has none. Raises UserError as read_record."""
    path = run / PREDICTION
    return read_record(path, Prediction) if there_is(path) else None
