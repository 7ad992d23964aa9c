"""The command lines of the pipelines that are deployed, as argparse knows them; imports no Beam.

Their ``--help``, the templates (``commands/template_metadata.py``) and the launcher of the image
(``pipelines/flex.py``) go by the same parsers.
"""

from __future__ import annotations

from collections.abc import Callable

from celes_beam.commands.flags import (
    FlagParser,
    add_batch_flags,
    add_format_flags,
    add_run_flags,
    add_sales_flags,
    add_warehouse_flags,
    flag_parser,
)
from celes_beam.commands.replay_options import add_replay_flags
from celes_beam.commands.stream_options import add_stream_flags
from celes_beam.commands.watch_options import add_watch_flags

BATCH, STREAMING, REPLAY = "batch", "streaming", "replay"


def batch_parser() -> FlagParser:
    """The flags of ``pipelines.batch``."""
    return flag_parser(
        "pipelines.batch",
        "Read sales from files, or generate them; check every row; write the accepted ones as a "
        "partitioned Parquet lake, and the rejected ones beside it with their reasons.",
        add_batch_flags,
        add_watch_flags,
        add_warehouse_flags,
        add_sales_flags,
        add_format_flags,
        add_run_flags,
    )


def streaming_parser() -> FlagParser:
    """The flags of ``pipelines.streaming``."""
    return flag_parser(
        "pipelines.streaming",
        "Read sales from Pub/Sub, check every row, and write the accepted ones to BigQuery and a "
        "lake, the rejected ones to a dead-letter topic, with their reasons; losing nothing.",
        add_stream_flags,
        add_run_flags,
    )


def replay_parser() -> FlagParser:
    """The flags of ``pipelines.replay``."""
    return flag_parser(
        "pipelines.replay",
        "Judge rejected rows once more, by today's rules and with a fix of yours; take the "
        "accepted ones into a lake, and keep the others with one attempt more. No row is replayed "
        "twice.",
        add_replay_flags,
        add_run_flags,
    )


PARSERS: dict[str, Callable[[], FlagParser]] = {
    BATCH: batch_parser,
    STREAMING: streaming_parser,
    REPLAY: replay_parser,
}
