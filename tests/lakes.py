"""Tiny lakes for tests: sales staged as Parquet, described, and committed."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from celes_beam.contract import REGION, REJECTED_SCHEMA
from celes_beam.sales.partition import hive_path
from celes_beam.stores.lake.commit import Patience, now
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.manifest import REJECTED_FILE, STAGED, DataFile, Manifest, RejectedFile
from celes_beam.stores.lake.measure import checksum, content
from celes_beam.stores.lake.parquet_writer import parquet_settings
from tests.sales import NOON, sales_batch

IMPATIENT = Patience(seconds=0)
"""Supersedes whoever has claimed and not decided, without waiting."""

Sale = tuple[str, str, int]
"""Category, region, cents."""


def stage_sales(
    folder: Path, sales: Sequence[Sale], dates: Sequence[datetime] | None = None
) -> tuple[DataFile, ...]:
    """Write sales under ``folder``, one file a region, and describe the files.

    All are of the same noon, unless ``dates`` gives that of each.
    """
    dated = list(zip(sales, dates or [NOON] * len(sales), strict=True))
    return tuple(
        _stage_region(folder, region, [(s, date) for s, date in dated if s[1] == region])
        for region in sorted({region for _, region, _ in sales})
    )


def draft(
    lake: Lake,
    run_id: str,
    sales: Sequence[Sale],
    *,
    kind: str = "append",
    dates: Sequence[datetime] | None = None,
    **fields: Any,
) -> Manifest:
    """Stage sales as a new attempt of a run, ready for ``Lake.commit``."""
    staging = lake.staging(run_id)
    files = stage_sales(Path(lake.storage.staging_area(staging).folder), sales, dates)
    counts = {
        "rows_read": len(sales),
        "rows_accepted": len(sales),
        "total": str(sum((Decimal(f.total) for f in files), Decimal("0.00"))),
    }
    return Manifest(
        run_id=run_id,
        kind=kind,  # type: ignore[arg-type]
        started_at=now(),
        staging=staging,
        partition_by=(REGION,),
        files=files,
        **(counts | fields),
    )


def commit_sales(
    lake: Lake, run_id: str, sales: Sequence[Sale], *, kind: str = "append", **fields: Any
) -> Manifest:
    """Stage and commit sales."""
    return lake.commit(draft(lake, run_id, sales, kind=kind, **fields))


def reject(lake: Lake, manifest: Manifest, rows: int) -> Manifest:
    """Stage rejected rows beside the sales of a draft."""
    name = f"part-{uuid.uuid4().hex}{REJECTED_FILE}"
    path = lake.storage.staging_area(manifest.staging).path(f"{name}{STAGED}")
    records = [
        {
            "source": "ventas.csv",
            "position": position,
            "reasons": ["missing"],
            "raw": b"1,,2",
            "rejected_at": 0,
            "rules_version": 1,
            "attempt": 1,
        }
        for position in range(rows)
    ]
    pq.write_table(pa.Table.from_pylist(records, REJECTED_SCHEMA), path)
    with path.open("rb") as file:
        size, crc32c = checksum(file)
    final = f"_rejected/{manifest.run_id}/{name}"
    return msgspec.structs.replace(
        manifest,
        rejected_files=(
            RejectedFile(path=final, staged=name + STAGED, rows=rows, bytes=size, crc32c=crc32c),
        ),
        rows_read=manifest.rows_read + rows,
        rows_rejected=rows,
        rejected_by_reason={"missing": rows},
    )


def visible_sales(root: Path) -> list[tuple[str, int]]:
    """What a reader of ``**/*.parquet`` finds: (region, cents) of every row, sorted."""
    found = []
    for path in sorted(root.rglob("*.parquet")):
        region = path.parent.name.partition("=")[2]
        amounts = pq.ParquetFile(path).read().column("cantidad_de_venta").to_pylist()
        found += [(region, int(amount * 100)) for amount in amounts]
    return sorted(found)


def _stage_region(folder: Path, region: str, dated: Sequence[tuple[Sale, datetime]]) -> DataFile:
    batch = sales_batch([sale for sale, _ in dated], [date for _, date in dated])
    table = pa.Table.from_batches([batch]).drop_columns([REGION])
    name = f"{hive_path({REGION: region})}/part-{uuid.uuid4().hex}.parquet"
    path = folder / (name + STAGED)
    path.parent.mkdir(parents=True, exist_ok=True)
    settings = parquet_settings(table.column_names, days_only=False)
    with pq.ParquetWriter(path, table.schema, **settings) as writer:
        writer.write_table(table)
    with path.open("rb") as file:
        held = content(file, name)
        file.seek(0)
        size, crc32c = checksum(file)
    assert pc.sum(table.column("cantidad_de_venta")).as_py() == held.total
    return DataFile(
        path=name,
        staged=name + STAGED,
        partition={REGION: region},
        rows=held.rows,
        bytes=size,
        crc32c=crc32c,
        total=str(held.total),
        min_date=held.min_date.isoformat() if held.min_date else None,
        max_date=held.max_date.isoformat() if held.max_date else None,
    )
