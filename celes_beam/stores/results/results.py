"""The result of an aggregation in the one shape that every engine gives, and its files.

A folder of results holds ``by_category`` and ``by_region``, and ``top`` when it was asked for, as
Parquet and as CSV; the same in ``result.json``; and ``sorted/part-*.parquet`` when that was.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from celes_beam.contract import AMOUNT, AMOUNT_SCALE, CATEGORY, DATE, REGION, SCHEMA
from celes_beam.errors import IntegrityError
from celes_beam.sales.aggregate import Sums
from celes_beam.stores.datasets.dataset import appearing
from celes_beam.stores.lake.ingest import category_totals, region_means
from celes_beam.stores.lake.manifest import CategoryTotal, RegionMean

RESULT_JSON = "result.json"
SORTED = "sorted"

_SHARE_DIGITS = 6
_WIDEST = 38
_TOTAL_TYPE = pa.decimal128(_WIDEST, AMOUNT_SCALE)
_RATIO_TYPE = pa.decimal128(_WIDEST, _SHARE_DIGITS)
_CATEGORY_SCHEMA = pa.schema(
    [
        pa.field(CATEGORY, pa.string(), nullable=False),
        pa.field("rows", pa.int64(), nullable=False),
        pa.field("total", _TOTAL_TYPE, nullable=False),
        pa.field("share", _RATIO_TYPE, nullable=False),
    ]
)
_REGION_SCHEMA = pa.schema(
    [
        pa.field(REGION, pa.string(), nullable=False),
        pa.field("rows", pa.int64(), nullable=False),
        pa.field("total", _TOTAL_TYPE, nullable=False),
        pa.field("mean", _RATIO_TYPE, nullable=False),
    ]
)


class CategoryShare(msgspec.Struct, frozen=True, kw_only=True):
    """Rows and sum of amounts of one category, and its share (0 to 1) of the sum of all."""

    categoria_de_producto: str
    rows: int
    total: str
    share: str


class TopSale(msgspec.Struct, frozen=True, kw_only=True):
    """One of the first sales in the order asked for; the date is ISO 8601 in UTC."""

    id_cliente: int
    fecha_de_transaccion: str
    cantidad_de_venta: str
    categoria_de_producto: str
    region_de_venta: str


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of one engine; amounts, shares and means are decimal strings.

    Categories are in falling order of their totals, regions in order of their names, and ``top``
    is there only when it was asked for. Two engines agree when all but ``engine`` is equal.
    """

    engine: str
    rows: int
    total: str
    by_category: tuple[CategoryShare, ...]
    by_region: tuple[RegionMean, ...]
    top: tuple[TopSale, ...] | msgspec.UnsetType = msgspec.UNSET

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON holds it."""
        return dict(msgspec.json.decode(msgspec.json.encode(self)))


def make_result(engine: str, sums: Sums, top: pa.RecordBatch | pa.Table | None = None) -> Result:
    """Put sums, and the first sales in order (``contract.SCHEMA``), into the common shape."""
    whole = sums.whole
    return Result(
        engine=engine,
        rows=whole.rows,
        total=str(whole.total),
        by_category=category_shares(category_totals(sums), str(whole.total)),
        by_region=region_means(sums),
        top=msgspec.UNSET if top is None else _top_sales(top),
    )


def category_shares(totals: Iterable[CategoryTotal], whole: str) -> tuple[CategoryShare, ...]:
    """Add to totals their share of the sum of all; 0 when that is 0."""
    divisor = Decimal(whole)
    return tuple(
        CategoryShare(
            categoria_de_producto=c.categoria_de_producto,
            rows=c.rows,
            total=c.total,
            share=str(_share(Decimal(c.total), divisor)),
        )
        for c in totals
    )


def write_result(folder: str, result: Result) -> None:
    """Write all files of a result but the sorted sales; written again, the same files replace them.

    Raises ``StorageError`` when the disk refuses.
    """
    _write_table(folder, "by_category", result.by_category, _CATEGORY_SCHEMA)
    _write_table(folder, "by_region", result.by_region, _REGION_SCHEMA)
    if result.top is not msgspec.UNSET:
        _write_table(folder, "top", result.top, SCHEMA)
    with appearing(Path(folder) / RESULT_JSON) as file:
        file.write(msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n")


def read_result(folder: str) -> Result:
    """Read what ``write_result`` wrote. Raises ``IntegrityError`` when it is gone or broken."""
    path = Path(folder) / RESULT_JSON
    try:
        data = path.read_bytes()
    except OSError as error:
        raise IntegrityError(f"{path} cannot be read: {error.strerror}") from error
    return decode_result(data, str(path))


def decode_result(data: bytes, path: str) -> Result:
    """Decode the content of ``result.json`` at ``path``. Raises ``IntegrityError``."""
    try:
        return msgspec.json.decode(data, type=Result)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise IntegrityError(f"{path} is not a result of this version: {error}") from error


def _write_table(
    folder: str, name: str, lines: Sequence[msgspec.Struct], schema: pa.Schema
) -> None:
    records = [msgspec.to_builtins(line) for line in lines]
    text = io.StringIO()
    writer = csv.DictWriter(text, schema.names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    with appearing(Path(folder) / f"{name}.csv") as file:
        file.write(text.getvalue().encode())
    columns = [_column([record[f.name] for record in records], f.type) for f in schema]
    with appearing(Path(folder) / f"{name}.parquet") as file:
        pq.write_table(
            pa.Table.from_arrays(columns, schema=schema),
            pa.PythonFile(file, "w"),
            compression="zstd",
            store_schema=False,
        )


def _column(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    texts = pa.types.is_decimal(kind) or pa.types.is_timestamp(kind)
    return pa.array(values, pa.string()).cast(kind) if texts else pa.array(values, kind)


def _top_sales(top: pa.RecordBatch | pa.Table) -> tuple[TopSale, ...]:
    return tuple(
        TopSale(**{**sale, DATE: sale[DATE].isoformat(), AMOUNT: str(sale[AMOUNT])})
        for sale in top.to_pylist()
    )


def _share(part: Decimal, whole: Decimal) -> Decimal:
    digits = Decimal(1).scaleb(-_SHARE_DIGITS)
    return (part / whole).quantize(digits) if whole else Decimal(0)
