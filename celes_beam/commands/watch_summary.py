"""What a watch says of itself: a line for each round that did something, and sums at its end."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from celes_beam.commands.console import facts_table, print_next_steps, write_json
from celes_beam.commands.summary import RunSummary

if TYPE_CHECKING:
    from rich.console import Console


@dataclass
class WatchSummary:
    """The sums of all commits of a watch so far, and the last of them.

    ``rounds`` counts the looks, ``failed_rounds`` those of them that ended in a fault.
    """

    lake: str
    rounds: int = 0
    failed_rounds: int = 0
    commits: int = 0
    inputs: int = 0
    set_aside: int = 0
    rows_read: int = 0
    rows_accepted: int = 0
    rejected_by_reason: Counter[str] = field(default_factory=Counter)
    total: Decimal = Decimal("0.00")
    last: RunSummary | None = None
    _began: float = field(default_factory=time.monotonic, repr=False)

    @property
    def rows_rejected(self) -> int:
        """All rejected rows; a file that was set aside counts as one."""
        return self.rejected_by_reason.total()

    def add(self, run: RunSummary) -> None:
        """Add a run that was committed."""
        manifest = run.manifest
        self.commits += 1
        self.inputs += len(manifest.inputs)
        self.set_aside += len(manifest.refused_inputs)
        self.rows_read += manifest.rows_read
        self.rows_accepted += manifest.rows_accepted
        self.rejected_by_reason.update(manifest.rejected_by_reason)
        self.total += Decimal(manifest.total)
        self.last = run

    def to_dict(self) -> dict[str, Any]:
        """The summary as JSON holds it; amounts are decimal strings. ``last_run`` is as a run's."""
        return {
            "lake": self.lake,
            "rounds": self.rounds,
            "failed_rounds": self.failed_rounds,
            "commits": self.commits,
            "inputs": self.inputs,
            "inputs_set_aside": self.set_aside,
            "rows_read": self.rows_read,
            "rows_accepted": self.rows_accepted,
            "rows_rejected": self.rows_rejected,
            "rejected_by_reason": dict(self.rejected_by_reason),
            "total": str(self.total),
            "seconds": round(time.monotonic() - self._began, 3),
            "last_run": None if self.last is None else self.last.to_dict(),
        }

    def write_json(self, path: str) -> None:
        """Write the JSON. Raises ``StorageError`` naming the path when that fails."""
        write_json(path, self.to_dict())

    def print(self, console: Console) -> None:
        """Print the sums for people."""
        import shlex  # noqa: PLC0415

        from rich.markup import escape  # noqa: PLC0415 - slow to import: not for --help

        facts = facts_table()
        for name, number in (
            ("rounds", self.rounds),
            ("that failed", self.failed_rounds),
            ("commits", self.commits),
            ("files", self.inputs),
            ("set aside", self.set_aside),
            ("rows read", self.rows_read),
            ("accepted", self.rows_accepted),
            ("rejected", self.rows_rejected),
        ):
            facts.add_row(name, f"{number:,}")
        facts.add_row("total", f"{self.total:,.2f}")
        console.print(facts)
        console.print(f"\nLake: [bold]{escape(self.lake)}[/]", soft_wrap=True)
        if self.commits:
            print_next_steps(console, [f"celes-beam lake ls {shlex.quote(self.lake)}"])


def round_line(run: RunSummary) -> str:
    """What a committed round did, in a line."""
    manifest = run.manifest
    aside = len(manifest.refused_inputs)
    files = len(manifest.inputs)
    return (
        f"{files:,} {'file' if files == 1 else 'files'}{f' ({aside:,} set aside)' if aside else ''}"
        f", {manifest.rows_accepted:,} rows accepted, {manifest.rows_rejected:,} rejected, "
        f"{run.seconds:,.1f} s (run {manifest.run_id})"
    )
