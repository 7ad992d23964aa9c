"""Lakes of generated sales, of the sizes at which engines are compared."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from celes_beam.compare.measured import run_measured
from celes_beam.errors import ConfigError, StorageError
from celes_beam.local.processes import last_lines
from celes_beam.stores.lake.lake import Lake


def generated_lake(folder: Path, rows: int) -> str:
    """Make a lake of so many rows in ``folder``, in a process of its own; one there is used again.

    Raises ``ConfigError`` when something else is there, and ``StorageError`` when it fails.
    """
    root = folder / f"rows-{rows}"
    if root.exists():
        if Lake.open(str(root)).snapshot().rows != rows:
            raise ConfigError(
                f"--keep {folder}: {root.name} is there and is no lake of {rows:,} rows: give "
                "another folder, or delete it"
            )
        return str(root)
    with tempfile.TemporaryDirectory(prefix="celes-compare-") as name:
        log = Path(name, "log")
        command = [sys.executable, "-m", "pipelines.batch", "--rows", str(rows)]
        with log.open("wb") as file:
            flags = ["--output", str(root), "--progress", "off"]
            # What Beam leaves in a temporary folder is removed with this one.
            environment = {**os.environ, "TMPDIR": name}
            ended = run_measured([*command, *flags], file, file, environment=environment)
        if ended.code != 0:
            said = last_lines(log, 1)
            raise StorageError(f"a lake of {rows:,} rows could not be generated: {said}")
    return str(root)
