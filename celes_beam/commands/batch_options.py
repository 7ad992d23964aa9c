"""What ``pipelines.batch`` is asked to do, resolved from its flags and checked."""

from __future__ import annotations

import argparse
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime

from celes_beam.commands.flag_values import most_rejected, one_header_each
from celes_beam.commands.warehouse_options import destination
from celes_beam.commands.watch_options import WatchOptions, watch_options
from celes_beam.config import Config, config_from_flags
from celes_beam.contract import Rules
from celes_beam.errors import ConfigError
from celes_beam.sales.decode_csv import CsvDialect
from celes_beam.sales.partition import parse_partition_by
from celes_beam.sales.texts import Notation
from celes_beam.sales.transform import Transform
from celes_beam.stores.inputs.read import ReadOptions
from celes_beam.stores.lake.ingest import RejectedLimit
from celes_beam.stores.lake.parquet_writer import Layout
from celes_beam.stores.warehouse.tables import Destination


@dataclass(frozen=True)
class BatchOptions:
    """Everything a batch run needs to know; made once, on the command line."""

    run_id: str
    inputs: tuple[str, ...]
    output: str
    if_exists: str
    reprocess: bool
    layout: Layout
    limit: RejectedLimit
    config: Config
    rules: Rules
    how: ReadOptions
    sets_aside: bool = False
    watch: WatchOptions | None = None
    warehouse: Destination | None = None
    dry_run: bool = False

    @property
    def generates(self) -> bool:
        """Whether sales are generated, there being no input."""
        return not self.inputs


def batch_options(flags: argparse.Namespace) -> BatchOptions:
    """Resolve the flags of ``pipelines.batch``. Raises ``ConfigError`` naming flag and value."""
    started = datetime.now(UTC)
    config = config_from_flags(flags)
    _check_flags_fit(flags)
    watch = watch_options(flags)
    if watch is not None and flags.dry_run:
        raise ConfigError("--dry_run tells of one run: leave out --watch")
    limit_rows, limit_share = most_rejected(flags.max_rejected)
    return BatchOptions(
        run_id=new_run_id(started) if flags.run_id is None else flags.run_id,
        inputs=tuple(flags.input or ()),
        output=flags.output,
        if_exists="append" if watch else flags.if_exists,
        reprocess=flags.reprocess,
        layout=Layout(parse_partition_by(flags.partition_by), flags.target_file_mb * 2**20),
        limit=RejectedLimit(limit_rows, limit_share),
        config=config,
        rules=config.rules(started, generated=not flags.input),
        how=read_options(flags),
        sets_aside=(flags.bad_files or ("set_aside" if watch else "fail")) == "set_aside",
        watch=watch,
        warehouse=destination(flags),
        dry_run=flags.dry_run,
    )


def read_options(flags: argparse.Namespace) -> ReadOptions:
    """Resolve the flags that say how input files are written."""
    return ReadOptions(
        format=flags.format,
        dialect=CsvDialect(
            delimiter=_delimiter(flags.csv_delimiter),
            encoding=flags.csv_encoding,
            notation=Notation(decimal_point=flags.csv_decimal, date_format=flags.date_format),
        ),
        columns=one_header_each(flags.columns or ()),
        transform=transform_of(flags),
    )


def transform_of(flags: argparse.Namespace) -> Transform | None:
    """Resolve ``--transform``, and see that it is there before anything runs."""
    if flags.transform is None:
        return None
    transform = Transform(flags.transform)
    transform.check()
    return transform


def _check_flags_fit(flags: argparse.Namespace) -> None:
    """Raise ``ConfigError`` for a flag that would do nothing."""
    generated: dict[str, object] = {"rows": None, "seed": None, "batch_rows": None}
    read: dict[str, object] = {
        "format": "auto",
        "columns": None,
        "csv_delimiter": None,
        "csv_decimal": ".",
        "csv_encoding": "utf-8",
        "date_format": None,
        "transform": None,
        "reprocess": False,
        "bad_files": None,
        "watch": None,
    }
    for name, default in (generated if flags.input else read).items():
        if getattr(flags, name) != default:
            raise ConfigError(
                f"--{name} is for generated sales: leave it out, or leave out --input"
                if flags.input
                else f"--{name} is for input files: leave it out, or give --input"
            )


def new_run_id(started: datetime) -> str:
    """Name a run after its start, with a few random digits for runs of the same second."""
    return f"{started:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


def _delimiter(text: str | None) -> str | None:
    if text is None:
        return None
    char = {"\\t": "\t", "tab": "\t"}.get(text, text)
    if len(char) != 1 or not char.isascii() or char in '"\r\n':
        raise ConfigError(f"--csv_delimiter {text!r}: expected one character, such as ; or tab")
    return char
