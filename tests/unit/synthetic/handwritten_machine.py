"""machine.json written by hand: two cores, of which others had more or less."""

from typing import Any

from harness.record.cell_record import MachineRecord

CALM = {"seconds": 0.5, "steal_share": 0.0, "others_share": 0.03, "lab_share": 0.3, "pressure_share": 0.1}
ROBBED = CALM | {"seconds": 0.8, "others_share": 0.85}
STOLEN = CALM | {"seconds": 1.2, "steal_share": 0.6, "others_share": 0.1}
BUSY = {"seconds": 1.0, "steal_share": 0.0, "others_share": 0.8, "lab_share": 0.2, "pressure_share": 0.9}


def machine(worst: dict[str, Any] = CALM, taken: dict[str, Any] | None = None, **whole: Any) -> MachineRecord:
    """A calm window of 4 s, but for its `worst` moment and the stretch `taken` by others."""
    counts = {"samples": 41, "load_cores": 0.3, "running_mean": 1.5, "running_max": 3}
    rest = {"cores": 2, "frequency_mhz": None, "watch_late_ms_max": 0.5}
    return MachineRecord.model_validate(
        {
            **{**CALM, "seconds": 4.0, **counts, **rest, **whole},
            "worst": {"at_s": 1.0, **worst},
            "taken": None if taken is None else {"at_s": 1.0, **taken},
        }
    )
