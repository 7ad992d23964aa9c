"""What a run says of itself at the end: for people (rich) and for programs (JSON)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

from celes_beam.errors import StorageError
from celes_beam.stores.ingest import describe_example
from celes_beam.stores.manifest import Manifest

if TYPE_CHECKING:
    from rich.console import Console

Status = Literal["committed", "already_committed", "no_new_files"]

_SHARE_DIGITS = Decimal("0.000001")
_BYTES_PER_MB = 1_000_000


@dataclass(frozen=True)
class RunSummary:
    """A run, and how long its pipeline took in seconds (start-up and imports not counted)."""

    manifest: Manifest
    lake: str
    seconds: float
    status: Status

    def to_dict(self) -> dict[str, Any]:
        """The summary as JSON holds it; amounts are decimal strings."""
        run = self.manifest
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
            "by_category": [
                {
                    "categoria_de_producto": c.categoria_de_producto,
                    "rows": c.rows,
                    "total": c.total,
                    "share": str(_share(c.total, run.total)),
                }
                for c in run.by_category
            ],
            "by_region": [
                {
                    "region_de_venta": r.region_de_venta,
                    "rows": r.rows,
                    "total": r.total,
                    "mean": r.mean,
                }
                for r in run.by_region
            ],
        }

    def write_json(self, path: str) -> None:
        """Write the JSON. Raises ``StorageError`` naming the path when that fails."""
        write_json(path, self.to_dict())

    def print(self, console: Console) -> None:
        """Print the summary for people."""
        from rich.table import Table  # noqa: PLC0415 - slow to import: not for --help

        run = self.manifest
        if self.status == "no_new_files":
            console.print(
                f"No new files: the lake in {self.lake} has taken in all of the input already "
                "(--reprocess reads it again)."
            )
            return
        if self.status == "already_committed":
            console.print(
                f"Run [bold]{run.run_id}[/] was committed at {run.decided_at}: nothing to do. "
                "It had:"
            )
        facts = Table.grid(padding=(0, 2))
        facts.add_column(style="dim")
        facts.add_column(justify="right")
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
            self._print_aggregates(console)
        if run.rows_rejected:
            self._print_rejected(console)
        console.print(f"\nLake: [bold]{self.lake}[/]  (run {run.run_id})", soft_wrap=True)
        console.print("Next:")
        for line in self._next_steps():
            console.print(f"  {line}", soft_wrap=True, highlight=False, markup=False)

    def _print_aggregates(self, console: Console) -> None:
        from rich.table import Table  # noqa: PLC0415 - slow to import: not for --help

        run = self.manifest
        categories = Table("category", title="Total by category", title_justify="left")
        for name in ("rows", "total", "share"):
            categories.add_column(name, justify="right")
        for c in run.by_category:
            share = _share(c.total, run.total)
            categories.add_row(
                c.categoria_de_producto, f"{c.rows:,}", _money(c.total), f"{share:.1%}"
            )
        categories.add_section()
        categories.add_row("all", f"{run.rows_accepted:,}", _money(run.total), "")
        regions = Table("region", title="Mean by region", title_justify="left")
        for name in ("rows", "mean"):
            regions.add_column(name, justify="right")
        for r in run.by_region:
            regions.add_row(r.region_de_venta, f"{r.rows:,}", f"{Decimal(r.mean):,.6f}")
        console.print(categories, regions)

    def _print_rejected(self, console: Console) -> None:
        from rich.markup import escape  # noqa: PLC0415 - slow to import: not for --help
        from rich.table import Table  # noqa: PLC0415

        run = self.manifest
        table = Table("reason", title="Rejected rows", title_justify="left")
        table.add_column("rows", justify="right")
        table.add_column("examples", overflow="fold")
        for reason, rows in run.rejected_by_reason.items():
            examples = [e for e in run.rejected_examples if e.reason == reason]
            shown = "\n".join(escape(describe_example(e)) for e in examples)
            table.add_row(reason, f"{rows:,}", shown)
        console.print(table)

    def _next_steps(self) -> list[str]:
        lake = self.lake
        steps = [f"celes-beam lake verify {lake}", f"python -m pipelines.aggregate --input {lake}"]
        if self.manifest.rows_rejected:
            steps.append(f"look at the rejected rows in {lake}/_rejected/{self.manifest.run_id}/")
        return steps


def write_json(path: str, content: dict[str, Any]) -> None:
    """Write JSON to a file. Raises ``StorageError`` naming the path."""
    text = json.dumps(content, ensure_ascii=False, indent=2) + "\n"
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise StorageError(
            f"--summary_json {path} could not be written: {error.strerror}; the run itself is done"
        ) from error


def console_for(stream: IO[str]) -> Console:
    """A console that keeps tables whole where nobody watches (a log, a pipe)."""
    from rich.console import Console  # noqa: PLC0415 - slow to import: not for --help

    return Console(file=stream, width=None if stream.isatty() else 100)


def _share(part: str, whole: str) -> Decimal:
    divisor = Decimal(whole)
    return (Decimal(part) / divisor).quantize(_SHARE_DIGITS) if divisor else Decimal(0)


def _money(text: str) -> str:
    return f"{Decimal(text):,.2f}"
