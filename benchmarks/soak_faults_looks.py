"""What readers see while all goes on: each answer must be one that could be right then."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from celes_beam.stores.cloud.clients import bigquery_client
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.snapshot import Snapshot
from celes_beam.stores.lake.verify import verify
from celes_beam.stores.warehouse.table_name import TableName

_TRIES = 5
_PAUSE_SECONDS = 0.5
_PROBLEMS_SHOWN = 3


@dataclass
class LakeLook:
    """Looks at the snapshots of a lake, whose files are in ``folder`` on this machine.

    ``at_most`` tells how many rows there can be by now.
    """

    root: str
    folder: Path
    at_most: Callable[[], int]
    problems: list[str]
    rows: int = 0
    files: int = 0
    looks: int = 0
    aggregated_rows: int = 0

    def look(self) -> None:
        """Read the files of the committed snapshot, and compare with what the commits say."""
        snapshot, found = self._read()
        said = (snapshot.rows, snapshot.total)
        if found != said:
            self.problems.append(f"{self.root}: files hold {found}, their commits say {said}")
        least, most = self.rows, self.at_most()
        if not least <= snapshot.rows <= most:
            self.problems.append(
                f"{self.root}: {snapshot.rows:,} rows, where {least:,} to {most:,} can be"
            )
        self.rows, self.files, self.looks = snapshot.rows, len(snapshot.files), self.looks + 1

    def has_rows(self) -> bool:
        """Whether the last look found any."""
        return self.rows > 0

    def _read(self) -> tuple[Snapshot, object]:
        """A snapshot, and what its files hold: rows and total, or why they cannot be read."""
        import duckdb  # noqa: PLC0415 - slow to import

        found: object = None
        for _ in range(_TRIES):
            snapshot = Lake.open(self.root).snapshot()
            paths = [str(self.folder / file.path) for file in snapshot.files]
            try:
                found = _sums(paths)
            except duckdb.Error as error:
                found = str(error)
            if found == (snapshot.rows, snapshot.total):
                break
            # A compaction may have merged a file meanwhile; or the local server was writing it, for
            # two processes that finish one commit both copy, and this goes round the server.
            time.sleep(_PAUSE_SECONDS)
        return snapshot, found

    def verified(self, code: int, output: str) -> None:
        """Take in what ``celes-beam lake verify --json`` said through the bad network."""
        if code and "{" not in output:
            return
        answer, _ = json.JSONDecoder().raw_decode(output[output.index("{") :])
        told = answer["problems"]
        # A request that failed is told as a problem of its file; one of the lake stays.
        if told and (stay := verify(Lake.open(self.root)).problems):
            self.problems.append(f"{self.root}: verify: {'; '.join(stay[:_PROBLEMS_SHOWN])}")

    def aggregated(self, summary: Path) -> Callable[[int, str], None]:
        """Take in what ``pipelines.aggregate`` found, by its summary."""

        def done(code: int, output: str) -> None:
            del output
            if code:
                return
            rows = json.loads(summary.read_text())["rows"]
            least, most = self.aggregated_rows, self.at_most()
            if not least <= rows <= most:
                self.problems.append(
                    f"{self.root}: aggregate: {rows:,} rows, where {least:,} to {most:,} can be"
                )
            self.aggregated_rows = rows

        return done


def _sums(paths: Sequence[str]) -> tuple[int, Decimal]:
    import duckdb  # noqa: PLC0415 - slow to import

    if not paths:
        return 0, Decimal("0.00")
    with duckdb.connect(config={"threads": 1}) as connection:
        query = "SELECT COUNT(*), SUM(cantidad_de_venta) FROM read_parquet($1)"
        rows, total = connection.execute(query, [paths]).fetchall()[0]
    return int(rows), Decimal(total)


@dataclass
class TableLook:
    """Looks at a table. ``distinct`` is a column of which no two rows may have the same value."""

    table: TableName
    at_most: Callable[[], int]
    problems: list[str]
    distinct: str | None = None
    rows: int = 0
    looks: int = 0
    slowest: float = field(default=0.0)

    def look(self) -> None:
        """Ask how many rows there are."""
        from google.api_core.exceptions import NotFound  # noqa: PLC0415 - slow to import

        unlike = f"COUNT(DISTINCT {self.distinct})" if self.distinct else "COUNT(*)"
        began = time.monotonic()
        try:
            rows, different = ask(
                self.table, f"SELECT COUNT(*), {unlike} FROM `{self.table.path}`"
            )[0]
        except NotFound:
            if self.rows:
                self.problems.append(f"{self.table}: it is gone")
            return
        self.slowest = max(self.slowest, time.monotonic() - began)
        if rows != different:
            self.problems.append(f"{self.table}: {rows:,} rows, but {different:,} of {unlike}")
        least, most = self.rows, self.at_most()
        if not least <= rows <= most:
            self.problems.append(f"{self.table}: {rows:,} rows, where {least:,} to {most:,} can be")
        self.rows, self.looks = rows, self.looks + 1


def ask(table: TableName, query: str) -> list[tuple[Any, ...]]:
    """The rows that BigQuery answers."""
    client = bigquery_client(table.project)
    return [tuple(row.values()) for row in client.query(query, job_retry=None).result()]
