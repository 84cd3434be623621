"""Stored runs that a test has changed."""

import json
from pathlib import Path

from harness.record.access_log import ACCESS_LOG
from harness.record.ledger_files import REPLICAS_STEM, replica_csv
from harness.record.run_directory import Cell
from harness.record.seals import EXPERIMENT_FILE, file_hash, seal_of_cell
from harness.record.tables import REPLICA_COLUMNS
from tests.unit.synthetic.access_lines import access_line


def edit(path: Path, **fields: object) -> None:
    """Change fields of a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def seal_again(run: Path) -> None:
    """Seal the experiment and all cells of a run as they are now."""
    manifest = json.loads((run / "manifest.json").read_text())
    for planned in manifest["cells"]:
        planned["seals"] = seal_of_cell(run / "cells" / f"{planned['arm']}.{planned['repeat']}")
    edit(run / "manifest.json", cells=manifest["cells"], experiment_seal=file_hash(run / EXPERIMENT_FILE))


def as_written(cell: Cell) -> None:
    """Put the ledgers of a cell back into the files that replicas and Envoy write while it runs."""
    replicas, proxy = cell.replica_ledger(), cell.proxy_ledger()
    if replicas is not None:
        table = replicas.collect()
        for name in cell.record.replicas:
            own = table.filter(replica=name).select(*REPLICA_COLUMNS)
            own.write_csv(replica_csv(cell.folder, name))
        (cell.folder / f"{REPLICAS_STEM}.parquet").unlink()
    if proxy is not None:
        lines = [access_line(**row) for row in proxy.collect().iter_rows(named=True)]
        (cell.folder / ACCESS_LOG).write_text("".join(lines))
        (cell.folder / "proxy.parquet").unlink()
