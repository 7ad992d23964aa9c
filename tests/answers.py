"""Lakes of a few sales, and what an aggregation of them must answer, worked out row by row."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from pathlib import Path
from typing import Any

import pyarrow as pa

from celes_beam.contract import AMOUNT, CATEGORY, COLUMN_NAMES, DATE, REGION, SCHEMA
from celes_beam.sales.outcomes import all_accepted
from celes_beam.stores.lake.ingest import RejectedLimit, commit_staged, draft_manifest
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.parquet_writer import Layout
from celes_beam.stores.lake.staging import StagingWriter
from tests.sales import RULES

Row = tuple[int, datetime, Decimal, str, str]
"""Values of a sale in the order of the contract."""


def batch_of(rows: Sequence[Row]) -> pa.RecordBatch:
    columns = zip(*rows, strict=True) if rows else [()] * len(SCHEMA)
    arrays = [pa.array(c, f.type) for c, f in zip(columns, SCHEMA, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


def rows_of(sales: pa.RecordBatch | pa.Table) -> list[Row]:
    return [tuple(sale[name] for name in COLUMN_NAMES) for sale in sales.to_pylist()]  # type: ignore[misc]


def commit_rows(
    root: Path, *parts: Sequence[Row], partition_by: tuple[str, ...] = (REGION,)
) -> Lake:
    """A lake with one commit for each of ``parts``."""
    lake = Lake.open(str(root))
    for i, rows in enumerate(parts):
        run_id = f"run-{i}"
        draft = draft_manifest(
            run_id=run_id,
            if_exists="append",
            staging=lake.staging(run_id),
            partition_by=partition_by,
            rules=RULES,
        )
        writer = StagingWriter(lake.storage.staging_area(draft.staging), Layout(partition_by))
        writer.write(all_accepted(batch_of(rows)))
        commit_staged(lake, draft, writer.close(), limit=RejectedLimit())
    return lake


def answer(rows: Sequence[Row]) -> dict[str, Any]:
    """The result of an aggregation, but for its engine, by plain arithmetic."""
    by_category: dict[str, list[Decimal]] = defaultdict(list)
    by_region: dict[str, list[Decimal]] = defaultdict(list)
    for _, _, amount, category, region in rows:
        by_category[category].append(amount)
        by_region[region].append(amount)
    with localcontext(prec=50, rounding=ROUND_HALF_EVEN):
        total = sum((r[2] for r in rows), Decimal("0.00"))
        return {
            "rows": len(rows),
            "total": str(total),
            "by_category": [
                {
                    CATEGORY: name,
                    "rows": len(amounts),
                    "total": str(sum(amounts)),
                    "share": str((sum(amounts) / total).quantize(Decimal("1e-6"))),
                }
                for name, amounts in sorted(
                    by_category.items(), key=lambda item: (-sum(item[1]), item[0])
                )
            ],
            "by_region": [
                {
                    REGION: name,
                    "rows": len(amounts),
                    "total": str(sum(amounts)),
                    "mean": str((sum(amounts) / len(amounts)).quantize(Decimal("1e-6"))),
                }
                for name, amounts in sorted(by_region.items())
            ],
        }


def in_order(rows: Sequence[Row], column: str, *, descending: bool = False) -> list[Row]:
    """Rows by a column, ties by the others, ascending, in the order of the contract."""
    at = COLUMN_NAMES.index(column)
    by_others = sorted(rows, key=lambda row: row[:at] + row[at + 1 :])
    return sorted(by_others, key=lambda row: row[at], reverse=descending)  # type: ignore[return-value,arg-type]


def as_json(row: Row) -> dict[str, Any]:
    """A row as the ``top`` of a result holds it."""
    sale = dict(zip(COLUMN_NAMES, row, strict=True))
    return {**sale, DATE: row[1].isoformat(), AMOUNT: str(row[2])}
