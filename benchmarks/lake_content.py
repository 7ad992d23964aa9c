"""What a contestant wrote, read back: ``python -m benchmarks.lake_content FOLDER`` prints it.

A process of its own, since the memory of a process counts as that of the next one it starts.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from celes_beam.contract import AMOUNT, CATEGORY, REGION


def lake_content(folder: Path) -> dict[str, object]:
    """Rows and cents of each category and region, files and bytes of a hive-partitioned lake."""
    lake = ds.dataset(folder, format="parquet", partitioning="hive")
    groups: dict[tuple[str, str], list[int]] = {}
    for batch in lake.to_batches(columns=[CATEGORY, REGION, AMOUNT]):
        cents = pc.round(pc.multiply(batch.column(AMOUNT).cast(pa.float64()), 100.0))
        table = pa.table(
            [batch.column(CATEGORY).cast(pa.string()), batch.column(REGION), cents],
            names=["category", "region", "cents"],
        )
        sums = table.group_by(["category", "region"]).aggregate(
            [("cents", "sum"), ([], "count_all")]
        )
        for row in sums.to_pylist():
            group = groups.setdefault((row["category"], row["region"]), [0, 0])
            group[0] += row["count_all"]
            group[1] += int(row["cents_sum"])
    return {
        "groups": [[*names, *counts] for names, counts in sorted(groups.items())],
        "rows": sum(rows for rows, _ in groups.values()),
        "files": len(lake.files),
        "bytes": sum(Path(f).stat().st_size for f in lake.files),
    }


if __name__ == "__main__":
    print(json.dumps(lake_content(Path(sys.argv[1]))))
