"""What was loaded into BigQuery, or would be, for people and for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from celes_beam.commands.console import write_json

if TYPE_CHECKING:
    from rich.console import Console

    from celes_beam.stores.warehouse.plan import Chunk, Plan
    from celes_beam.stores.warehouse.tables import Destination, Tables
    from celes_beam.stores.warehouse.warehouse import Loaded

_HOW = {
    "direct": "from the bucket",
    "rewritten": "copied with all columns",
    "uploaded": "copied",
}


@dataclass(frozen=True)
class DryRun:
    """What would be made and loaded, nothing having been changed.

    ``inputs`` are files that the run would read, with their bytes; None without a run to come.
    ``known`` is how many others the lake has taken in already; None for a run that reads none.
    """

    destination: Destination
    tables: Tables
    plan: Plan
    lake: str
    inputs: tuple[tuple[str, int], ...] | None = None
    known: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        tables, plan = self.tables, self.plan
        name = self.destination.table
        return {
            "dry_run": True,
            "lake": self.lake,
            "dataset": {
                "name": f"{name.project}:{name.dataset}",
                "exists": tables.dataset_made,
                "location": tables.location,
            },
            "tables": [
                self._table(tables.sales, tables.sales_made),
                self._table(tables.rejected, tables.rejected_made),
            ],
            "views": [
                {"name": str(view_name), "exists": made, "query": view.query}
                for view_name, view, made in tables.views
            ],
            "rows_already_loaded": plan.rows_there,
            "truncates": plan.truncates,
            "jobs": [_job(c) for s in plan.steps for c in s.chunks],
            "inputs": None if self.inputs is None else [p for p, _ in self.inputs],
            "inputs_already_read": self.known,
        }

    def write_json(self, path: str) -> None:
        """Write the JSON. Raises ``StorageError`` naming the path when that fails."""
        write_json(path, self.to_dict())

    def print(self, console: Console) -> None:
        """Print it for people."""
        from rich.markup import escape  # noqa: PLC0415 - slow to import: not for --help
        from rich.table import Table  # noqa: PLC0415

        tables, name = self.tables, self.destination.table

        def say(text: str) -> None:
            console.print(escape(text), soft_wrap=True, highlight=False)

        say("Dry run: nothing was changed.")
        say(
            f"dataset {name.project}:{name.dataset}{_state(tables.dataset_made)}: {tables.location}"
        )
        for table, made in (
            (tables.sales, tables.sales_made),
            (tables.rejected, tables.rejected_made),
        ):
            described = self._table(table, made)
            say(f"table {described['name']}{_state(made)}: {described['layout']}")
            if not made:
                columns = Table("column", "type", "mode", "description")
                for column in described["columns"]:
                    columns.add_row(*(column[k] for k in ("name", "type", "mode", "description")))
                console.print(columns)
        for view_name, view, made in tables.views:
            say(f"view {view_name}{_state(made)}: {view.query}")
        if self.plan.rows_there:
            say(f"{self.plan.rows_there:,} rows of {self.lake} are in the table already")
        self._print_jobs(console, [c for s in self.plan.steps for c in s.chunks])
        if self.inputs is not None:
            say(self._then(self.inputs))

    def _then(self, inputs: Sequence[tuple[str, int]]) -> str:
        if self.known is None:
            return "then the sales that the run generates"
        size = sum(b for _, b in inputs)
        read = f"; {self.known:,} others are in the lake already" if self.known else ""
        if not inputs:
            return f"no new files: the run reads nothing{read}"
        return (
            f"then the accepted rows of {len(inputs):,} files ({size:,} bytes) that the run reads"
            f"{read}"
        )

    def _print_jobs(self, console: Console, chunks: Sequence[Chunk]) -> None:
        from rich.table import Table  # noqa: PLC0415 - slow to import: not for --help
        from rich.text import Text  # noqa: PLC0415

        if not chunks:
            console.print("The lake holds nothing that waits to be loaded.", highlight=False)
            return
        jobs = Table("run", "into", "how", title="Load jobs", title_justify="left")
        for column in ("files", "rows", "bytes"):
            jobs.add_column(column, justify="right")
        for chunk in chunks:
            job = _job(chunk)
            into = f"{job['into']}{', replacing its rows' if chunk.truncates else ''}"
            counts = (f"{job[k]:,}" for k in ("files", "rows", "bytes"))
            jobs.add_row(Text(chunk.run_id), into, _HOW[chunk.how], *counts)
        console.print(jobs)

    def _table(self, table: Any, made: bool) -> dict[str, Any]:
        partitioning = table.time_partitioning
        layout = (
            f"partitioned by {partitioning.type_.lower()} on {partitioning.field}"
            if partitioning
            else "not partitioned"
        )
        if table.clustering_fields:
            layout += f", clustered by {', '.join(table.clustering_fields)}"
        key = getattr(table.encryption_configuration, "kms_key_name", None)
        return {
            "name": f"{table.project}:{table.dataset_id}.{table.table_id}",
            "exists": made,
            "layout": f"{layout}, encrypted with {key}" if key else layout,
            "columns": [
                {
                    "name": f.name,
                    "type": f.field_type,
                    "mode": f.mode,
                    "description": f.description or "",
                }
                for f in table.schema
            ],
        }


def print_loaded(console: Console, loaded: Loaded) -> None:
    """Say in a few lines what was loaded."""
    from rich.markup import escape  # noqa: PLC0415 - slow to import: not for --help

    if loaded.jobs:
        text = (
            f"BigQuery: {loaded.rows:,} rows of {loaded.runs:,} "
            f"{'run' if loaded.runs == 1 else 'runs'} loaded into {loaded.table} by "
            f"{loaded.jobs:,} {'job' if loaded.jobs == 1 else 'jobs'} in {loaded.seconds:,.1f} s"
        )
    else:
        text = f"BigQuery: nothing to load, {loaded.table} has it all"
    if loaded.rows_before:
        text += f"; {loaded.rows_before:,} rows were there already"
    if loaded.rejected_rows:
        text += f"; {loaded.rejected_rows:,} rejected rows into {loaded.rejected_table}"
    console.print(escape(text), soft_wrap=True, highlight=False)
    console.print(escape(f"  views: {', '.join(loaded.views)}"), soft_wrap=True, highlight=False)


def _job(chunk: Chunk) -> dict[str, Any]:
    return {
        "run_id": chunk.run_id,
        "into": "rejected rows" if chunk.is_rejected else "sales",
        "how": chunk.how,
        "truncates": chunk.truncates,
        "files": len(chunk.files),
        "rows": chunk.rows,
        "bytes": chunk.bytes,
    }


def _state(made: bool) -> str:
    return " is there" if made else " would be made"
