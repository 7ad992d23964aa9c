"""What a stream says of itself at the end: for people (rich) and for programs (JSON)."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from celes_beam.commands.console import facts_table, print_next_steps, write_json
from celes_beam.commands.stream_status import StreamFigures, told

if TYPE_CHECKING:
    from rich.console import Console

    from celes_beam.stores.messages.pulling import Ended

EndedBy = Literal["max_messages", "idle_timeout", "deadline", "signal"]

_REASONS: dict[EndedBy, str] = {
    "max_messages": "it had as many messages as were asked for (--max_messages)",
    "idle_timeout": "no message came any more (--idle_timeout)",
    "deadline": "its time was over (--deadline)",
    "signal": "it was told to stop",
}


def ended_by(ended: Ended | None) -> EndedBy:
    """Why a stream ended; a runner that was told to stop may not have asked for a batch since."""
    names: dict[str, EndedBy] = {name: name for name in _REASONS}
    return names.get(ended or "", "signal")


@dataclass(frozen=True)
class StreamSummary:
    """A stream from its first message to its end; rows read = accepted + rejected.

    ``messages`` were delivered, ``duplicates`` of them had been before and were not written again.
    ``refused`` rows are rejected ones that BigQuery did not take. ``commits`` are those to the
    lake. ``seconds`` are those of the pipeline, start-up and imports not counted; the latency is
    from the publication of a message until it was written, in seconds, None without messages.
    """

    run_id: str
    subscription: str
    table: str | None
    lake: str | None
    dead_letter_topic: str | None
    messages: int
    duplicates: int
    rows_read: int
    rows_accepted: int
    rows_rejected: int
    rows_written: int
    refused: int
    rows_with_unknown_fields: int
    dead_letters: int
    commits: int
    seconds: float
    latency_p50: float | None
    latency_p99: float | None
    latency_mean: float | None
    ended_by: EndedBy
    live_table: str | None = None
    live_sums: int = 0
    live_rows: int = 0
    live_rows_late: int = 0
    rejected_by_reason: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        figures: StreamFigures,
        *,
        run_id: str,
        subscription: str,
        table: str | None,
        lake: str | None,
        dead_letter_topic: str | None,
        seconds: float,
        ended_by: EndedBy,
        live_table: str | None = None,
    ) -> StreamSummary:
        """Make it of what the meter has counted."""
        latency = figures.latency
        return cls(
            run_id=run_id,
            subscription=subscription,
            table=table,
            lake=lake,
            dead_letter_topic=dead_letter_topic,
            messages=figures.messages,
            duplicates=figures.duplicates,
            rows_read=figures.rows_read,
            rows_accepted=figures.rows_accepted,
            rows_rejected=figures.rows_rejected,
            rows_written=figures.rows_written,
            refused=figures.refused,
            rows_with_unknown_fields=figures.rows_with_unknown_fields,
            dead_letters=figures.dead_letters,
            commits=figures.commits,
            seconds=seconds,
            latency_p50=latency.quantile(0.5),
            latency_p99=latency.quantile(0.99),
            latency_mean=latency.mean,
            ended_by=ended_by,
            live_table=live_table,
            live_sums=figures.live_sums,
            live_rows=figures.live_rows,
            live_rows_late=figures.live_rows_late,
            rejected_by_reason=dict(figures.rejected_by_reason),
        )

    @property
    def messages_per_second(self) -> float:
        """Messages delivered, for each second of the pipeline."""
        return self.messages / max(self.seconds, 1e-9)

    def to_dict(self) -> dict[str, Any]:
        """The summary as JSON holds it."""
        return {
            "run_id": self.run_id,
            "subscription": self.subscription,
            "table": self.table,
            "lake": self.lake,
            "dead_letter_topic": self.dead_letter_topic,
            "ended_by": self.ended_by,
            "messages": self.messages,
            "duplicates": self.duplicates,
            "rows_read": self.rows_read,
            "rows_accepted": self.rows_accepted,
            "rows_rejected": self.rows_rejected,
            "rejected_by_reason": dict(self.rejected_by_reason),
            "rows_written": self.rows_written,
            "refused": self.refused,
            "rows_with_unknown_fields": self.rows_with_unknown_fields,
            "dead_letters": self.dead_letters,
            "commits": self.commits,
            "live_table": self.live_table,
            "live_sums": self.live_sums,
            "live_rows": self.live_rows,
            "live_rows_late": self.live_rows_late,
            "seconds": round(self.seconds, 3),
            "messages_per_second": round(self.messages_per_second, 1),
            "latency_p50": _rounded(self.latency_p50),
            "latency_p99": _rounded(self.latency_p99),
            "latency_mean": _rounded(self.latency_mean),
        }

    def write_json(self, path: str) -> None:
        """Write the JSON. Raises ``StorageError`` naming the path when that fails."""
        write_json(path, self.to_dict())

    def print(self, console: Console) -> None:
        """Print the summary for people."""
        from rich.markup import escape  # noqa: PLC0415 - slow to import: not for --help

        facts = facts_table()
        for name, count in (
            ("messages", self.messages),
            ("that came again", self.duplicates),
            ("rows read", self.rows_read),
            ("accepted", self.rows_accepted),
            ("rejected", self.rows_rejected),
            ("with unknown fields", self.rows_with_unknown_fields),
        ):
            facts.add_row(name, f"{count:,}")
        if self.dead_letter_topic is not None:
            facts.add_row("dead letters", f"{self.dead_letters:,}")
        if self.lake is not None:
            facts.add_row("commits", f"{self.commits:,}")
        if self.live_table is not None:
            facts.add_row("sums of live windows", f"{self.live_sums:,}")
            facts.add_row("rows that came late", f"{self.live_rows_late:,}")
        facts.add_row("time", f"{self.seconds:,.2f} s")
        facts.add_row("speed", f"{self.messages_per_second:,.0f} messages/s")
        if self.latency_mean is not None:
            facts.add_row("latency, mean", told(self.latency_mean))
            facts.add_row("latency, p50", told(self.latency_p50))
            facts.add_row("latency, p99", told(self.latency_p99))
        console.print(facts)
        if self.rejected_by_reason:
            self._print_rejected(console)
        console.print(f"\nIt ended because {_REASONS[self.ended_by]}.", highlight=False)
        places = ("Table", self.table), ("Live windows", self.live_table), ("Lake", self.lake)
        for name, place in places:
            if place is not None:
                run = f"  (run {self.run_id})" if name == "Lake" else ""
                console.print(f"{name}: [bold]{escape(place)}[/]{run}", soft_wrap=True)
        if self.lake is not None and self.commits:
            lake = shlex.quote(self.lake)
            steps = [f"celes-beam lake ls {lake}", f"celes-beam lake compact {lake}"]
            print_next_steps(console, steps)
        if self.rows_rejected:
            self._print_where_rejected_are(console)

    def _print_rejected(self, console: Console) -> None:
        from rich.table import Table  # noqa: PLC0415 - slow to import: not for --help

        table = Table("reason", title="Rejected rows", title_justify="left")
        table.add_column("rows", justify="right")
        for reason, rows in self.rejected_by_reason.items():
            table.add_row(reason, f"{rows:,}")
        console.print(table)

    def _print_where_rejected_are(self, console: Console) -> None:
        from rich.markup import escape  # noqa: PLC0415 - slow to import: not for --help

        where = []
        if self.table is not None:
            where.append(f"{self.table}_rechazadas")
        if self.lake is not None:
            where.append(f"{self.lake}/_rejected/")
        if self.dead_letter_topic is not None:
            where.append(self.dead_letter_topic)
        console.print(f"Rejected rows are in {escape(' and '.join(where))}", soft_wrap=True)


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 4)
