"""What the load's master records of its workers."""

from harness.record.cell_record import LoadWorkerRecord
from load.clock_offset import ClockOffset
from load.worker_state import WorkerState


def test_what_is_written_of_a_worker_can_be_recorded() -> None:
    worker = WorkerState("load-worker-1", "key", "127.0.0.1", ClockOffset(5, 1), [3], ended="done")
    record = LoadWorkerRecord(**worker.record())
    assert (record.name, record.clients, record.offset_ns, record.ended) == ("load-worker-1", [3], 5, "done")
