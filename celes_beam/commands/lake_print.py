"""What ``celes-beam lake`` prints: tables for people, JSON for programs.

Arrow and rich are imported where they are used, so that ``--help`` answers at once.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from celes_beam.stores.lake.history import Step
    from celes_beam.stores.lake.manifest import Manifest

_BYTES_PER_MB = 1_000_000


def print_run(step: Step) -> None:
    """Print all about one run: facts, inputs, files, examples of rejected rows."""
    run = step.manifest
    facts = [
        ("run", f"{run.run_id} ({run.kind}, {step.state})"),
        ("started", moment(run.started_at)),
        ("committed", f"{moment(run.decided_at)}, after {run.seconds:,.1f} s"),
        ("partitioned by", ", ".join(run.partition_by) or "nothing"),
        ("from", step.origin),
        ("rows read", f"{run.rows_read:,}"),
        ("accepted", f"{run.rows_accepted:,}"),
        ("rejected", f"{run.rows_rejected:,}{_reasons(run)}"),
        ("total", run.total),
        ("retired", f"{len(run.retired):,} files of {step.rows_retired:,} rows"),
    ]
    print_table("", "fact value", facts, header=False)
    if run.inputs:
        inputs = [
            (i.path, as_mb(i.size), f"{i.rows_read:,}", f"{i.rows_accepted:,}") for i in run.inputs
        ]
        print_table("Inputs", "path >MB >rows_read >accepted", inputs)
    if run.barren_inputs:
        print(
            f"note: nothing was accepted of {barren(run)}: mend it and append it again, or read "
            "it as it is with --reprocess"
        )
    if run.files:
        files = [
            (
                f.path,
                f"{f.rows:,}",
                as_mb(f.bytes),
                f.total,
                f"{_day(f.min_date)}..{_day(f.max_date)}",
            )
            for f in run.files
        ]
        print_table("Files", "path >rows >MB >total dates", files)
    if run.rejected_examples:
        from celes_beam.stores.lake.ingest import describe_example  # noqa: PLC0415

        print("Rejected rows, examples")
        for example in run.rejected_examples:
            print(f"  {describe_example(example)}")


def barren(run: Manifest) -> str:
    """The inputs of which nothing was accepted: the first, and how many more."""
    paths = [i.path for i in run.barren_inputs]
    return f"{paths[0]} and {len(paths) - 1} more" if paths[1:] else paths[0]


def _reasons(run: Manifest) -> str:
    reasons = ", ".join(f"{name} {rows:,}" for name, rows in run.rejected_by_reason.items() if rows)
    return f" ({reasons})" if reasons else ""


def step_json(step: Step) -> dict[str, Any]:
    """A run and the lake after it, as JSON has them."""
    run = step.manifest
    return {
        "run_id": run.run_id,
        "kind": run.kind,
        "state": step.state,
        "decided_at": run.decided_at,
        "inputs": [i.path for i in run.inputs],
        "barren_inputs": [i.path for i in run.barren_inputs],
        "files": len(run.files),
        "rows": run.rows,
        "bytes": run.bytes,
        "rows_retired": step.rows_retired,
        "files_after": step.files_after,
        "rows_after": step.rows_after,
        "bytes_after": step.bytes_after,
        "total_after": str(step.total_after),
    }


def print_json(content: Any) -> int:
    """Print JSON; returns the exit code 0."""
    print(json.dumps(content, ensure_ascii=False, indent=1))
    return 0


def print_table(
    title: str, columns: str, rows: Sequence[Sequence[str]], *, header: bool = True
) -> None:
    """Print rows under a title; ``columns`` are names, apart by spaces, ">" aligns them right."""
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    if title:
        print(title)
    # A pipe has no width, and nothing of a table may be cut off there.
    width = None if sys.stdout.isatty() else 200
    table = Table(show_header=header)
    for name in columns.split():
        right = name.startswith(">")
        label = name.removeprefix(">").replace("_", " ")
        table.add_column(label, justify="right" if right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console(file=sys.stdout, width=width).print(table)


def moment(iso: str) -> str:
    """A time in ISO 8601 without its fraction and zone."""
    return iso[:19].replace("T", " ")


def _day(iso: str | None) -> str:
    return iso[:10] if iso else ""


def as_mb(size: int) -> str:
    """Bytes in MB of a million, with one decimal."""
    return f"{size / _BYTES_PER_MB:,.1f}"
