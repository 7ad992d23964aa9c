"""What a replay says of itself: what became of the rows, or would."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from celes_beam.commands.console import facts_table, print_next_steps, write_json
from celes_beam.contract import REASONS
from celes_beam.errors import IntegrityError
from celes_beam.stores.lake.ingest import describe_example
from celes_beam.stores.lake.manifest import Manifest
from celes_beam.stores.lake.rejects import Rejections
from celes_beam.stores.replay.selection import Tally

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from celes_beam.stores.warehouse.warehouse import Loaded

Status = Literal["committed", "already_committed", "nothing_to_replay", "dry_run"]


@dataclass(frozen=True)
class ReplaySummary:
    """A replay of ``source`` into ``lake``; rows are counted under their first reason.

    ``before`` are the rows that were replayed, ``after`` those of them that were rejected again,
    with some examples. ``tally`` is of all rows that were looked at, unless the run had been
    committed already. ``sent_again`` went back to a dead-letter topic. Raises ``IntegrityError``
    unless replayed = accepted + rejected again.
    """

    status: Status
    source: str
    lake: str
    run_id: str
    before: Mapping[str, int]
    accepted: int
    after: Rejections
    total: str = "0.00"
    tally: Tally | None = None
    seconds: float = 0.0
    sent_again: int = 0
    loaded: Loaded | None = None

    def __post_init__(self) -> None:
        if self.replayed != self.accepted + self.after.rows:
            raise IntegrityError(
                f"{self.replayed:,} rows were replayed, but {self.accepted:,} accepted and "
                f"{self.after.rows:,} rejected again: report this as a bug, with the rows"
            )

    @classmethod
    def of(cls, manifest: Manifest, lake: str, status: Status, **more: Any) -> ReplaySummary:
        """The summary of a commit. ``manifest`` must be that of a replay."""
        replayed = manifest.replayed
        return cls(
            status=status,
            source=replayed.source if replayed else "",
            lake=lake,
            run_id=manifest.run_id,
            before=replayed.by_reason if replayed else {},
            accepted=manifest.rows_accepted,
            after=Rejections(manifest.rejected_by_reason, manifest.rejected_examples),
            total=manifest.total,
            **more,
        )

    @property
    def replayed(self) -> int:
        """Rows that were taken up again."""
        return sum(self.before.values())

    def to_dict(self) -> dict[str, Any]:
        """The summary as JSON holds it; amounts are decimal strings."""
        tally = self.tally or Tally()
        return {
            "run_id": self.run_id,
            "from": self.source,
            "lake": self.lake,
            "status": self.status,
            "rows_looked_at": tally.seen,
            "rows_replayed": self.replayed,
            "rows_accepted": self.accepted,
            "rows_rejected_again": self.after.rows,
            "replayed_by_reason": dict(self.before),
            "rejected_again_by_reason": self.after.by_reason,
            "examples": msgspec.to_builtins(list(self.after.examples)),
            "left_out": {
                "not_asked_for": tally.not_asked_for,
                "replayed_before": tally.replayed_before,
                "rejected_by_the_same_rules": tally.judged_before,
                "of_replaced_commits": tally.replaced,
                "cannot_be_replayed": dict(tally.kept_by_reason),
            },
            "total": self.total,
            "sent_to_dead_letter_topic": self.sent_again,
            "seconds": round(self.seconds, 3),
            "bigquery": None if self.loaded is None else self.loaded.to_dict(),
        }

    def write_json(self, path: str) -> None:
        """Write the JSON. Raises ``StorageError`` naming the path when that fails."""
        write_json(path, self.to_dict())

    def print(self, console: Console) -> None:
        """Print the summary for people."""
        from rich.markup import escape  # noqa: PLC0415 - slow to import: not for --help

        def say(text: str) -> None:
            console.print(escape(text), soft_wrap=True, highlight=False)

        if self.status == "nothing_to_replay":
            say(f"Nothing to replay: no row of {self.source} is to be taken up again.")
        elif self.status == "already_committed":
            say(f"Run {self.run_id} was committed already: nothing to do. It did this:")
        elif self.status == "dry_run":
            say("Dry run: nothing was changed. This would come of it:")
        self._print_counts(console)
        if self.after.examples:
            self._print_examples(console)
        if self.sent_again:
            say(f"{self.sent_again:,} rows went back to the dead-letter topic.")
        if self.loaded is not None:
            from celes_beam.commands.warehouse_report import print_loaded  # noqa: PLC0415

            print_loaded(console, self.loaded)
        if self.status == "committed":
            say(f"\nLake: {self.lake}  (run {self.run_id})")
            print_next_steps(console, [f"celes-beam lake verify {shlex.quote(self.lake)}"])

    def _print_counts(self, console: Console) -> None:
        from rich.table import Table  # noqa: PLC0415 - slow to import: not for --help

        facts = facts_table()
        if self.tally is not None:
            facts.add_row("rejected rows looked at", f"{self.tally.seen:,}")
            for name, rows in (
                ("not asked for", self.tally.not_asked_for),
                ("replayed before", self.tally.replayed_before),
                ("rejected before by the same rules", self.tally.judged_before),
                ("cannot be replayed, and stay", self.tally.kept),
            ):
                if rows:
                    facts.add_row(f"  {name}", f"{rows:,}")
            if self.tally.replaced:
                name = "of commits that an overwrite replaced (--run takes them)"
                facts.add_row(name, f"{self.tally.replaced:,}")
        if self.before:
            facts.add_row("replayed", f"{self.replayed:,}")
            facts.add_row("  accepted", f"{self.accepted:,}")
            facts.add_row("  rejected again", f"{self.after.rows:,}")
        console.print(facts)
        if not self.before:
            return
        table = Table("reason")
        for name in ("before", "after"):
            table.add_column(name, justify="right")
        for reason in REASONS:
            counts = (self.before.get(reason, 0), self.after.by_reason.get(reason, 0))
            if any(counts):
                table.add_row(reason, *(f"{n:,}" for n in counts))
        console.print(table)

    def _print_examples(self, console: Console) -> None:
        from rich.markup import escape  # noqa: PLC0415 - slow to import: not for --help

        console.print("Rejected again:", highlight=False)
        for example in self.after.examples:
            console.print(f"  {escape(describe_example(example))}", soft_wrap=True, highlight=False)
