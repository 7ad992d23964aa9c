"""What ``pipelines.aggregate`` is asked to do, resolved from its flags, and what came of it."""

from __future__ import annotations

import argparse
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from celes_beam.commands.console import facts_table, write_json
from celes_beam.commands.flag_values import one_header_each
from celes_beam.commands.summary import print_aggregates, print_top
from celes_beam.errors import ConfigError
from celes_beam.sales.order import Order
from celes_beam.sales.scan import Questions
from celes_beam.stores.cloud.clients import GCS_SCHEME
from celes_beam.stores.results.result_folder import ResultFolder
from celes_beam.stores.results.results import SORTED, Result

if TYPE_CHECKING:
    from rich.console import Console

MOST_TOP = 100_000
PART_ROWS = 524_288
SAMPLED_PER_PART = 1_024

_BYTES_PER_MB = 1_000_000


@dataclass(frozen=True)
class AggregateOptions:
    """Everything an aggregation needs to know.

    ``part_rows`` is the size of a sorted part, on the average.
    """

    run_id: str
    started: datetime
    input: str
    headers: tuple[tuple[str, str], ...]
    target: ResultFolder
    overwrite: bool
    order: Order
    top: int
    write_sorted: bool
    part_rows: int = PART_ROWS

    @property
    def questions(self) -> Questions:
        """What the first pass is to find out."""
        sample_every = max(1, self.part_rows // SAMPLED_PER_PART) if self.write_sorted else 0
        return Questions(self.order, self.top, sample_every)


def aggregate_options(flags: argparse.Namespace) -> AggregateOptions:
    """Resolve the flags of ``pipelines.aggregate``. Raises ``ConfigError`` naming the flag."""
    if flags.write_sorted and flags.output is None:
        raise ConfigError("--write_sorted needs a folder to write to: give --output FOLDER")
    if (flags.sort_by or flags.descending) and not (flags.top or flags.write_sorted):
        flag = "--sort_by" if flags.sort_by else "--descending"
        raise ConfigError(f"{flag} orders rows: say which, with --top N or --write_sorted")
    if (flags.top or 0) > MOST_TOP:
        raise ConfigError(
            f"--top {flags.top:,}: expected at most {MOST_TOP:,}; --write_sorted gives all rows"
        )
    return AggregateOptions(
        run_id=f"aggregate-{secrets.token_hex(3)}",
        started=datetime.now(UTC),
        input=flags.input,
        headers=one_header_each(flags.columns or ()),
        target=_target(flags.output),
        overwrite=flags.if_exists == "overwrite",
        order=Order(flags.sort_by or Order().column, flags.descending),
        top=flags.top or 0,
        write_sorted=flags.write_sorted,
    )


def _target(output: str | None) -> ResultFolder:
    if output is None or not output.startswith(GCS_SCHEME):
        return ResultFolder(output)
    from celes_beam.stores.results.gcs_result_folder import GcsResultFolder  # noqa: PLC0415

    return GcsResultFolder(output)


@dataclass(frozen=True)
class AggregateSummary:
    """A finished aggregation; ``seconds`` are those of the pipeline, start-up not counted."""

    result: Result
    options: AggregateOptions
    files: int
    bytes: int
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """The summary as JSON holds it: the result, and how it came about."""
        return {
            **self.result.to_dict(),
            "input": self.options.input,
            "output": self.options.target.output,
            "files": self.files,
            "bytes": self.bytes,
            "seconds": round(self.seconds, 3),
        }

    def write_json(self, path: str) -> None:
        """Write the JSON. Raises ``StorageError`` naming the path when that fails."""
        write_json(path, self.to_dict())

    def print(self, console: Console) -> None:
        """Print the summary for people."""
        from rich.markup import escape  # noqa: PLC0415 - slow to import: not for --help

        rows = self.result.rows
        facts = facts_table()
        facts.add_row("rows", f"{rows:,}")
        facts.add_row("files", f"{self.files:,}")
        facts.add_row("size", f"{self.bytes / _BYTES_PER_MB:,.1f} MB")
        facts.add_row("time", f"{self.seconds:,.2f} s")
        facts.add_row("speed", f"{rows / max(self.seconds, 1e-9):,.0f} rows/s")
        console.print(facts)
        result, order = self.result, self.options.order
        if rows:
            print_aggregates(console, result.by_category, result.by_region, rows, result.total)
        if result.top:
            direction = "descending" if order.descending else "ascending"
            print_top(console, result.top, f"First rows by {order.column}, {direction}")
        output = self.options.target.output
        if output is None:
            console.print("Next: add --output FOLDER to keep the result")
            return
        console.print(f"\nResult: [bold]{escape(output)}[/]", soft_wrap=True)
        if self.options.write_sorted:
            console.print(f"Next: read the rows in order from {output.rstrip('/')}/{SORTED}/")
