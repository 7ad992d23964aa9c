"""One measurement's own process: ``python -m benchmarks.child NAME ROWS|FILE FOLDER``.

Does the work once and prints a JSON line: its seconds, without interpreter start and imports.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from benchmarks import peers

ROWS = {
    "limit": peers.limit,
    "polars": peers.polars_rows,
    "duckdb": peers.duckdb_rows,
    "pyarrow": peers.pyarrow_rows,
    "pyarrow-tuned": peers.pyarrow_rows_tuned,
    "pandas": peers.pandas_rows,
}
CSV = {
    "polars-csv": peers.polars_csv,
    "duckdb-csv": peers.duckdb_csv,
    "pyarrow-csv": peers.pyarrow_csv,
    "pyarrow-csv-tuned": peers.pyarrow_csv_tuned,
}


def run(name: str, what: str, folder: Path) -> float:
    """Do the work called ``name`` from ``what`` (rows, or a CSV file); return its seconds."""
    work = ROWS[name](int(what), folder) if name in ROWS else CSV[name](Path(what), folder)
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    print(json.dumps({"seconds": run(sys.argv[1], sys.argv[2], Path(sys.argv[3]))}))
