"""What a run says of itself at the end: for people (rich) and for programs (JSON)."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from celes_beam.commands.console import facts_table, print_next_steps, write_json
from celes_beam.stores.lake.ingest import describe_example
from celes_beam.stores.lake.manifest import Manifest, RegionMean
from celes_beam.stores.results.results import CategoryShare, TopSale, category_shares

if TYPE_CHECKING:
    from rich.console import Console

    from celes_beam.stores.warehouse.warehouse import Loaded

Status = Literal["committed", "already_committed", "no_new_files"]

_GROUPS_SHOWN = 50
_INPUTS_SHOWN = 3
_BYTES_PER_MB = 1_000_000
_TOP_SHOWN = 20


@dataclass(frozen=True)
class RunSummary:
    """A run, and how long its pipeline took in seconds (start-up and imports not counted).

    ``skipped`` are files that changed while they were read, for the next run to take in.
    """

    manifest: Manifest
    lake: str
    seconds: float
    status: Status
    skipped: tuple[str, ...] = ()
    loaded: Loaded | None = None
    """What was loaded into BigQuery, when it was asked for."""

    def to_dict(self) -> dict[str, Any]:
        """The summary as JSON holds it; amounts are decimal strings."""
        run = self.manifest
        shares = list(category_shares(run.by_category, run.total))
        return {
            "run_id": run.run_id,
            "lake": self.lake,
            "status": self.status,
            "rows_read": run.rows_read,
            "rows_accepted": run.rows_accepted,
            "rows_rejected": run.rows_rejected,
            "rejected_by_reason": run.rejected_by_reason,
            "files": len(run.files),
            "bytes": run.bytes,
            "seconds": round(self.seconds, 3),
            "total": run.total,
            "by_category": msgspec.to_builtins(shares),
            "by_region": msgspec.to_builtins(list(run.by_region)),
            "set_aside": [{"path": i.path, "why": i.refused} for i in run.refused_inputs],
            "skipped": list(self.skipped),
            "bigquery": None if self.loaded is None else self.loaded.to_dict(),
        }

    def write_json(self, path: str) -> None:
        """Write the JSON. Raises ``StorageError`` naming the path when that fails."""
        write_json(path, self.to_dict())

    def print(self, console: Console) -> None:
        """Print the summary for people."""
        self._print_run(console)
        if self.loaded is not None:
            from celes_beam.commands.warehouse_report import print_loaded  # noqa: PLC0415

            print_loaded(console, self.loaded)

    def _print_run(self, console: Console) -> None:
        from rich.markup import escape  # noqa: PLC0415 - slow to import: not for --help

        run = self.manifest
        for path in self.skipped[:_INPUTS_SHOWN]:
            console.print(f"Left for the next run: {escape(path)} changed while it was read.")
        if self.status == "no_new_files" and self.skipped:
            console.print("Nothing was committed.")
            return
        if self.status == "no_new_files":
            console.print(
                f"No new files: the lake in {escape(self.lake)} has taken in all of the input "
                "already (--reprocess reads it again)."
            )
            return
        if self.status == "already_committed":
            console.print(
                f"Run [bold]{run.run_id}[/] was committed at {run.decided_at}: nothing to do. "
                f"It read {escape(_read_by(run))}:"
            )
        facts = facts_table()
        facts.add_row("rows read", f"{run.rows_read:,}")
        facts.add_row("accepted", f"{run.rows_accepted:,}")
        facts.add_row("rejected", f"{run.rows_rejected:,}")
        facts.add_row("files", f"{len(run.files):,}")
        facts.add_row("size", f"{run.bytes / _BYTES_PER_MB:,.1f} MB")
        if self.status == "committed":
            facts.add_row("time", f"{self.seconds:,.2f} s")
            facts.add_row("speed", f"{run.rows_read / max(self.seconds, 1e-9):,.0f} rows/s")
        console.print(facts)
        if run.by_category:
            shares = category_shares(run.by_category, run.total)
            print_aggregates(console, shares, run.by_region, run.rows_accepted, run.total)
        if run.rows_rejected:
            self._print_rejected(console)
        for barren in run.barren_inputs[:_INPUTS_SHOWN]:
            why = "see above why" if barren.refused is None else escape(barren.refused)
            console.print(
                f"[bold]Nothing of {escape(barren.path)} was accepted[/]: {why}. It counts "
                "as read; to read it again with other flags, add --reprocess.",
                soft_wrap=True,
            )
        if len(run.barren_inputs) > _INPUTS_SHOWN:
            console.print(f"So it is with {len(run.barren_inputs) - _INPUTS_SHOWN:,} more files.")
        console.print(f"\nLake: [bold]{escape(self.lake)}[/]  (run {run.run_id})", soft_wrap=True)
        lake = shlex.quote(self.lake)
        verify = f"celes-beam lake verify {lake}"
        print_next_steps(console, [verify, f"python -m pipelines.aggregate --input {lake}"])
        if run.rows_rejected:
            where = f"{self.lake}/_rejected/{run.run_id}/"
            console.print(f"  look at the rejected rows in {escape(where)}", soft_wrap=True)

    def _print_rejected(self, console: Console) -> None:
        from rich.markup import escape  # noqa: PLC0415 - slow to import: not for --help
        from rich.table import Table  # noqa: PLC0415

        run = self.manifest
        table = Table("reason", title="Rejected rows", title_justify="left")
        table.add_column("rows", justify="right")
        table.add_column("examples", overflow="fold")
        for reason, rows in run.rejected_by_reason.items():
            examples = [e for e in run.rejected_examples if e.reason == reason]
            # One failure of a transform is that of all rows of a block.
            shown = "\n".join(dict.fromkeys(escape(describe_example(e)) for e in examples))
            table.add_row(reason, f"{rows:,}", shown)
        console.print(table)


def print_aggregates(
    console: Console,
    by_category: Sequence[CategoryShare],
    by_region: Sequence[RegionMean],
    rows: int,
    total: str,
) -> None:
    """Print the totals by category, that of all below them, and the means by region."""
    from rich.markup import escape  # noqa: PLC0415 - slow to import: not for --help
    from rich.table import Table  # noqa: PLC0415

    categories = Table("category", title="Total by category", title_justify="left")
    for name in ("rows", "total", "share"):
        categories.add_column(name, justify="right")
    for c in by_category[:_GROUPS_SHOWN]:
        share = f"{Decimal(c.share):.1%}"
        categories.add_row(escape(c.categoria_de_producto), f"{c.rows:,}", _money(c.total), share)
    if by_category[_GROUPS_SHOWN:]:
        categories.add_row(f"… and {len(by_category) - _GROUPS_SHOWN:,} more")
    categories.add_section()
    categories.add_row("all", f"{rows:,}", _money(total), "")
    regions = Table("region", title="Mean by region", title_justify="left")
    for name in ("rows", "mean"):
        regions.add_column(name, justify="right")
    for r in by_region[:_GROUPS_SHOWN]:
        regions.add_row(escape(r.region_de_venta), f"{r.rows:,}", f"{Decimal(r.mean):,.6f}")
    if by_region[_GROUPS_SHOWN:]:
        regions.add_row(f"… and {len(by_region) - _GROUPS_SHOWN:,} more")
    console.print(categories, regions)


def _read_by(run: Manifest) -> str:
    """What a run read, in a few words."""
    if run.generated is not None:
        return f"{run.generated.rows:,} generated rows of seed {run.generated.seed}"
    names = ", ".join(i.path for i in run.inputs[:_INPUTS_SHOWN]) or "no file"
    more = len(run.inputs) - _INPUTS_SHOWN
    return names + (f" and {more:,} more files" if more > 0 else "")


def print_top(console: Console, sales: Sequence[TopSale], title: str) -> None:
    """Print the first sales in some order."""
    from rich.markup import escape  # noqa: PLC0415 - slow to import: not for --help
    from rich.table import Table  # noqa: PLC0415

    table = Table(title=escape(title), title_justify="left")
    table.add_column("customer", justify="right")
    table.add_column("date")
    table.add_column("amount", justify="right")
    table.add_column("category")
    table.add_column("region")
    for sale in sales[:_TOP_SHOWN]:
        table.add_row(
            str(sale.id_cliente),
            sale.fecha_de_transaccion,
            _money(sale.cantidad_de_venta),
            escape(sale.categoria_de_producto),
            escape(sale.region_de_venta),
        )
    console.print(table)
    if len(sales) > _TOP_SHOWN:
        console.print(f"… and {len(sales) - _TOP_SHOWN:,} more", highlight=False)


def _money(text: str) -> str:
    return f"{Decimal(text):,.2f}"
