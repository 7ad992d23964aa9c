"""What ``pipelines.generate`` is asked to do, resolved from its flags, and what came of it."""

from __future__ import annotations

import argparse
import secrets
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from celes_beam.commands.console import facts_table, print_next_steps, write_json
from celes_beam.config import Config, config_from_flags
from celes_beam.errors import ConfigError
from celes_beam.stores.cloud.clients import GCS_SCHEME
from celes_beam.stores.datasets.dataset_target import DatasetTarget

if TYPE_CHECKING:
    from rich.console import Console

_BYTES_PER_MB = 1_000_000


@dataclass(frozen=True)
class DatasetOptions:
    """Everything a run of ``pipelines.generate`` needs to know."""

    run_id: str
    config: Config
    target: DatasetTarget
    overwrite: bool
    shards: int
    error_rate: float


def dataset_options(flags: argparse.Namespace) -> DatasetOptions:
    """Resolve the flags of ``pipelines.generate``. Raises ``ConfigError`` naming flag and value."""
    config = config_from_flags(flags)
    target = _target(flags.output, flags.format)
    if flags.shards is not None and target.one_file:
        raise ConfigError(
            f"--shards {flags.shards} is for a folder, but --output {flags.output} is one file: "
            "leave it out, or name a folder, such as ventas/"
        )
    return DatasetOptions(
        run_id=f"generate-{secrets.token_hex(3)}",
        config=config,
        target=target,
        overwrite=flags.if_exists == "overwrite",
        shards=flags.shards or max(1, -(-config.rows // config.batch_rows)),
        error_rate=flags.error_rate,
    )


def _target(output: str, format: str | None) -> DatasetTarget:
    if not output.startswith(GCS_SCHEME):
        return DatasetTarget.parse(output, format)
    from celes_beam.stores.datasets.gcs_dataset_target import GcsDatasetTarget  # noqa: PLC0415

    return GcsDatasetTarget.parse(output, format)


@dataclass(frozen=True)
class DatasetSummary:
    """A finished data set; ``seconds`` are those of the pipeline, start-up not counted."""

    output: str
    format: str
    seed: int
    rows: int
    files: int
    bytes: int
    planted: dict[str, int]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """The summary as JSON holds it."""
        return {
            "output": self.output,
            "format": self.format,
            "seed": self.seed,
            "rows": self.rows,
            "rows_broken": sum(self.planted.values()),
            "broken_by_reason": self.planted,
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

        facts = facts_table()
        facts.add_row("rows", f"{self.rows:,}")
        if self.planted:
            facts.add_row("of them broken", f"{sum(self.planted.values()):,}")
        for reason, rows in self.planted.items():
            facts.add_row(f"  {reason}", f"{rows:,}")
        facts.add_row("seed", str(self.seed))
        facts.add_row("files", f"{self.files:,}")
        facts.add_row("size", f"{self.bytes / _BYTES_PER_MB:,.1f} MB")
        facts.add_row("time", f"{self.seconds:,.2f} s")
        facts.add_row("speed", f"{self.rows / max(self.seconds, 1e-9):,.0f} rows/s")
        console.print(facts)
        console.print(f"\nData set: [bold]{escape(self.output)}[/]", soft_wrap=True)
        source = shlex.quote(self.output)
        print_next_steps(console, [f"python -m pipelines.batch --input {source} --output ./lake"])
