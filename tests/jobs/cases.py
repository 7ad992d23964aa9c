"""One expected answer for every engine: inputs of all shapes, and what must come of them.

``check_answer`` runs the ``run`` of an engine on a case, all questions at once, and compares.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from celes_beam.commands.aggregate_options import AggregateSummary
from celes_beam.contract import AMOUNT, CATEGORY, DATE, ID, REGION, SCHEMA
from celes_beam.stores.results.results import Result
from tests.answers import Row, answer, as_json, batch_of, commit_rows, in_order, rows_of

Run = Callable[[Sequence[str]], AggregateSummary]

START = datetime(2024, 1, 1, tzinfo=UTC)
ODD = ["Electrónica", "a=b", "c/d", "50%", "dos  espacios", "[bold]", "x:y", "ñandú", "b", "B"]
HAND_CHECKED: list[Row] = [
    (7, START, Decimal("10.10"), "Ropa", "Norte"),
    (7, START, Decimal("0.01"), "Hogar", "Sur"),
    (3, START + timedelta(hours=9), Decimal("10.10"), "Ropa", "Sur"),
    (1, START + timedelta(days=1), Decimal("5.00"), "Hogar", "Sur"),
]
HAND_ANSWER: dict[str, Any] = {
    "rows": 4,
    "total": "25.21",
    "by_category": [
        {CATEGORY: "Ropa", "rows": 2, "total": "20.20", "share": "0.801269"},
        {CATEGORY: "Hogar", "rows": 2, "total": "5.01", "share": "0.198731"},
    ],
    "by_region": [
        {REGION: "Norte", "rows": 1, "total": "10.10", "mean": "10.100000"},
        {REGION: "Sur", "rows": 3, "total": "15.11", "mean": "5.036667"},
    ],
}


@dataclass(frozen=True)
class Case:
    """Sales, how they are laid out as an input, and what is asked about their order."""

    name: str
    rows: Sequence[Row]
    make: Callable[[Path, Sequence[Row]], object]
    sort_by: str = AMOUNT
    descending: bool = True
    top: int = 25
    flags: tuple[str, ...] = ()

    def expected(self) -> dict[str, Any]:
        """The result, but for its engine."""
        ordered = in_order(self.rows, self.sort_by, descending=self.descending)
        return answer(self.rows) | {"top": [as_json(row) for row in ordered[: self.top]]}


def sales(rows: int, *, seed: int = 1, regions: Sequence[str] = ODD, most: int = 500) -> list[Row]:
    """Sales of odd names, of at most ``most`` cents, with many ties, some of them whole rows."""
    world = random.Random(seed)
    return [
        (
            world.randint(1, 9),
            START + timedelta(days=world.randint(0, 40), hours=world.choice([0, 0, 7])),
            Decimal(world.randint(1, most)).scaleb(-2),
            world.choice(ODD),
            world.choice(regions),
        )
        for _ in range(rows)
    ]


def lake(*partition_by: str, commits: int = 1) -> Callable[[Path, Sequence[Row]], object]:
    """Write the rows as a lake of so many commits."""

    def make(root: Path, rows: Sequence[Row]) -> object:
        size = -(-len(rows) // commits) or 1
        parts = [rows[i : i + size] for i in range(0, len(rows), size)] or [rows]
        return commit_rows(root, *parts, partition_by=partition_by)

    return make


def lake_with_strays(root: Path, rows: Sequence[Row]) -> None:
    """Write a lake, and beside its files one that nobody committed."""
    commit_rows(root, rows)
    stray = root / f"{REGION}=Norte"
    stray.mkdir(exist_ok=True)
    shutil.copy(next(root.glob("region*/*.parquet")), stray / "part-stray.parquet")


def hive_of_others(root: Path, rows: Sequence[Row]) -> None:
    """Write a plain hive folder as pandas and Arrow do: floats, nanoseconds, other names."""
    table = pa.Table.from_batches([batch_of(rows)])
    table = table.set_column(2, "Cantidad_de_venta", table.column(AMOUNT).cast(pa.float64()))
    table = table.set_column(1, DATE, table.column(DATE).cast(pa.timestamp("ns")))
    table = table.rename_columns({ID: "cliente"}).append_column("otra", pa.nulls(len(rows)))
    pq.write_to_dataset(table, root, partition_cols=[REGION])


def hive_of_ours(root: Path, rows: Sequence[Row]) -> None:
    """Write a lake, and remove what makes it one: a plain hive folder, with a derived month."""
    commit_rows(root, rows, partition_by=(CATEGORY, "mes"))
    shutil.rmtree(root / "_commits")


def flat_files(root: Path, rows: Sequence[Row]) -> None:
    """Write two files of several row groups, one of them with texts that need a trim."""
    root.mkdir(parents=True)
    half = len(rows) // 2
    table = pa.Table.from_batches([batch_of(rows[:half])])
    pq.write_table(table, root / "a.parquet", row_group_size=40)
    padded = [(*row[:4], f" {row[4]} ") for row in rows[half:]]
    table = pa.Table.from_batches([batch_of(padded)])
    pq.write_table(table, root / "b.parquet", row_group_size=40)


def file_without_rows(root: Path, rows: Sequence[Row]) -> None:
    """Write a plain folder with one file and no row."""
    root.mkdir(parents=True)
    pq.write_table(SCHEMA.empty_table(), root / "v.parquet")


REGIONS_450 = [f"Región {i:03}" for i in range(450)]

CASES: tuple[Case, ...] = (
    Case("hand-checked", HAND_CHECKED, lake(REGION)),
    Case("empty-lake", [], lake(REGION)),
    Case("empty-file", [], file_without_rows),
    Case("one-row", sales(1), lake(REGION)),
    Case("odd-names", sales(300), lake(REGION, CATEGORY, commits=2), descending=False),
    Case("by-day", sales(200), lake("fecha"), sort_by=DATE),
    Case("450-regions", sales(1500, regions=REGIONS_450), lake("anio"), sort_by=ID, top=40),
    Case(
        "beyond-12-digits",
        [(1, START, Decimal("9999999999.99") - i, "a", "b") for i in range(1500)],
        lake(),
    ),
    Case("strays", sales(50), lake_with_strays),
    Case("hive-of-ours", sales(120), hive_of_ours, sort_by=ID, descending=False),
    Case("hive-of-others", sales(120), hive_of_others, flags=("--columns", f"{ID}=cliente")),
    Case("flat-files", sales(200), flat_files, sort_by=DATE, descending=False),
)


def without_engine(result: Result) -> dict[str, Any]:
    """A result as JSON, to be compared with that of another engine."""
    return {name: value for name, value in result.to_dict().items() if name != "engine"}


def ask_all(case: Case, source: str, output: str) -> list[str]:
    """The flags that ask everything about the input of a case."""
    order = ["--sort_by", case.sort_by, *(["--descending"] if case.descending else [])]
    flags = ["-i", source, "-o", output, *order, "--top", str(case.top), "--write_sorted"]
    return [*flags, *case.flags, "--progress", "off"]


def sorted_table(output: Path) -> pa.Table:
    """The sorted parts of a result, in their order."""
    parts = sorted((output / "sorted").iterdir())
    return ds.dataset(parts, format="parquet").to_table().cast(SCHEMA)


def sorted_rows(output: Path) -> list[Row]:
    """The rows of the sorted parts of a result, in their order."""
    return rows_of(sorted_table(output))


def check_answer(run: Run, case: Case, folder: Path, extra: Sequence[str] = ()) -> None:
    """Run an engine on a case, with ``extra`` flags, and compare all that came of it.

    With ``extra`` an engine may be told where its workers are.
    """
    source, output = folder / "input", folder / "result"
    case.make(source, case.rows)

    summary = run([*ask_all(case, str(source), str(output)), *extra])

    assert without_engine(summary.result) == case.expected()
    ordered = in_order(case.rows, case.sort_by, descending=case.descending)
    assert sorted_rows(output) == ordered
    assert sorted(path.name for path in folder.iterdir()) == ["input", "result"]
    if case.rows is HAND_CHECKED:
        assert {k: v for k, v in case.expected().items() if k != "top"} == HAND_ANSWER
