"""The status file of a load: each state at once, the count of answers now and then, exact at the end."""

from pathlib import Path

import pytest

from load import row_batches
from load.engine import Progress
from load.order import LoadStatus
from load.row_batches import RowBatch, RowFiles

ONE_ROW = RowBatch("", "1,0\n", 1, 1, [])


def test_each_state_is_written_at_once_and_the_end_has_all_rows(tmp_path: Path) -> None:
    files, progress = RowFiles(tmp_path), Progress()
    for state in ("warm_up", "measure", "done"):
        progress.state = state
        files.append(ONE_ROW)
        files.write_status(progress)
        assert LoadStatus.read(tmp_path).state == state
    for _ in range(3):  # rows that come after the state
        files.append(ONE_ROW)
        files.write_status(progress)
    assert LoadStatus.read(tmp_path).answered == 6
    files.close()


@pytest.mark.parametrize(("interval_s", "seen"), [(3600.0, 1), (0.0, 3)])
def test_while_measuring_the_count_is_written_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interval_s: float, seen: int
) -> None:
    monkeypatch.setattr(row_batches, "STATUS_INTERVAL_S", interval_s)
    files, progress = RowFiles(tmp_path), Progress(state="measure")
    for _ in range(3):
        files.append(ONE_ROW)
        files.write_status(progress)
    assert LoadStatus.read(tmp_path).answered == seen
    files.write_status(progress, at_end=True)
    assert LoadStatus.read(tmp_path).answered == 3
    files.close()
