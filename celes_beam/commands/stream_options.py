"""What ``pipelines.streaming`` is asked to do, resolved from its flags and checked."""

from __future__ import annotations

import argparse
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, get_args

from celes_beam.commands.flag_values import number, one_header_each, positive_int
from celes_beam.commands.flags import (
    add_columns,
    add_partition_flags,
    add_rules_flags,
    add_table_flags,
    add_transform,
)
from celes_beam.commands.live_options import add_live_flags, live_spec
from celes_beam.errors import ConfigError

if TYPE_CHECKING:
    from celes_beam.sales.messages import MessageRules
    from celes_beam.stores.lake.parquet_writer import Layout
    from celes_beam.stores.warehouse.live_table import LiveSpec
    from celes_beam.stores.warehouse.tables import Destination

Delivery = Literal["at_least_once", "exactly_once"]
DELIVERIES: tuple[Delivery, ...] = get_args(Delivery)
DRIFTS = ("discard", "freeze", "keep")
_MOST_BATCH_ROWS = 100_000
_LONGEST_BATCH = 60.0
"""Messages of a batch are held unacknowledged, so it must be over in a fraction of ten minutes,
the longest that Pub/Sub leases them for."""
_DAY = 86_400.0


@dataclass(frozen=True)
class Ending:
    """When a stream ends by itself; all ``None`` is never. Seconds, and messages."""

    max_messages: int | None = None
    idle_timeout: float | None = None
    deadline: float | None = None


@dataclass(frozen=True)
class StreamOptions:
    """Everything a stream needs to know; made once, on the command line.

    ``subscription`` is the path of one, or None when one is to be made of ``topic``.
    """

    run_id: str
    subscription: str | None
    topic: str | None
    dead_letter_topic: str | None
    warehouse: Destination | None
    output: str | None
    journal: str | None
    layout: Layout
    lake_flush_seconds: float
    delivery: Delivery
    dedupe_minutes: float
    max_batch_rows: int
    max_batch_seconds: float
    rules: MessageRules
    ending: Ending
    metrics_port: int | None
    live: LiveSpec | None


def add_stream_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of ``pipelines.streaming`` beyond those of every run."""
    _add_message_flags(parser)
    _add_sink_flags(parser)
    add_live_flags(parser)
    _add_rules_flags(parser)
    _add_ending_flags(parser)


def _add_message_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("messages")
    source = group.add_mutually_exclusive_group()
    source.add_argument(
        "--subscription",
        "-s",
        metavar="PATH",
        help="subscription to read: projects/P/subscriptions/S",
    )
    source.add_argument(
        "--topic",
        metavar="PATH",
        help="topic to read, by a subscription that is made for it: projects/P/topics/T",
    )
    group.add_argument(
        "--dead_letter_topic",
        metavar="PATH",
        help="topic that gets the messages of rejected rows, as they came, with the reasons",
    )
    group.add_argument(
        "--id_attribute",
        metavar="NAME",
        help="attribute that tells one message from another when the publisher may send it twice "
        "(default: the id that Pub/Sub gives)",
    )
    group.add_argument(
        "--max_batch_rows",
        type=positive_int("--max_batch_rows"),
        default=5_000,
        metavar="N",
        help="most messages that are checked and written at once (default: %(default)s)",
    )
    group.add_argument(
        "--max_batch_seconds",
        type=number("--max_batch_seconds", 0.01, _LONGEST_BATCH),
        default=1.0,
        metavar="SECONDS",
        help="a batch waits for further messages so long (default: %(default)s)",
    )


def _add_sink_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("where the sales go")
    add_table_flags(group, "write the rows into this table")
    group.add_argument(
        "--delivery",
        choices=DELIVERIES,
        default=DELIVERIES[0],
        help="whether a row may be in the table twice after a fault (default: %(default)s)",
    )
    group.add_argument(
        "--output", "-o", metavar="LAKE", help="folder of a lake, local or gs://, to write to"
    )
    group.add_argument(
        "--lake_flush_seconds",
        type=number("--lake_flush_seconds", 1.0, _DAY),
        default=60.0,
        metavar="SECONDS",
        help="one commit of the lake takes what came in so many seconds (default: %(default)s)",
    )
    add_partition_flags(group)
    group.add_argument(
        "--journal",
        metavar="FOLDER",
        help="folder, local or gs://, where batches are noted before they are written; of a lake "
        "it is a part of that, exactly_once without a lake needs one",
    )
    group.add_argument(
        "--dedupe_minutes",
        type=number("--dedupe_minutes", 1.0, 24 * 60.0),
        default=10.0,
        metavar="MINUTES",
        help="how long a message that comes again is known to be there, where there is a journal "
        "(default: %(default)s)",
    )


def _add_rules_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what is accepted")
    add_columns(group, "fields that go by another name, such as id_cliente=household_id")
    group.add_argument(
        "--date_format",
        metavar="FORM",
        help="how dates are written, such as dd/mm/yyyy (default: ISO 8601)",
    )
    group.add_argument(
        "--schema_drift",
        choices=DRIFTS,
        default=DRIFTS[0],
        help="what to do about fields that are no column: leave them out and count the rows, "
        "reject the row, or keep them as JSON in a column of the table (default: %(default)s)",
    )
    add_transform(group, "your function that gets each batch before it is checked")
    add_rules_flags(group, "any", "any")


def _add_ending_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("when it ends (SIGTERM or Ctrl-C always do)")
    group.add_argument(
        "--max_messages",
        type=positive_int("--max_messages"),
        metavar="N",
        help="after so many messages",
    )
    group.add_argument(
        "--idle_timeout",
        type=number("--idle_timeout", 0.1, _DAY),
        metavar="SECONDS",
        help="when no message came for so long",
    )
    group.add_argument(
        "--deadline",
        type=number("--deadline", 0.1, 366 * _DAY),
        metavar="SECONDS",
        help="after so long",
    )
    group.add_argument(
        "--metrics_port",
        type=_port,
        metavar="PORT",
        help="serve figures for Prometheus at http://127.0.0.1:PORT/metrics; 0 takes a free port",
    )


def stream_options(flags: argparse.Namespace) -> StreamOptions:
    """Resolve the flags of ``pipelines.streaming``. Raises ``ConfigError``, naming the flag."""
    from celes_beam.commands.batch_options import transform_of  # noqa: PLC0415
    from celes_beam.commands.warehouse_options import destination  # noqa: PLC0415
    from celes_beam.config import config_from_flags  # noqa: PLC0415
    from celes_beam.sales.messages import Drift, MessageRules  # noqa: PLC0415
    from celes_beam.sales.partition import parse_partition_by  # noqa: PLC0415
    from celes_beam.sales.texts import Notation  # noqa: PLC0415
    from celes_beam.stores.lake.parquet_writer import Layout  # noqa: PLC0415

    _check_flags_fit(flags)
    started = datetime.now(UTC)
    accepted = config_from_flags(flags).rules(started, generated=False)
    run_id = flags.run_id or f"stream-{started:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
    table = destination(flags)
    return StreamOptions(
        run_id=run_id,
        subscription=flags.subscription,
        topic=flags.topic,
        dead_letter_topic=flags.dead_letter_topic,
        warehouse=table,
        output=flags.output,
        journal=flags.journal,
        layout=Layout(parse_partition_by(flags.partition_by), flags.target_file_mb * 2**20),
        lake_flush_seconds=flags.lake_flush_seconds,
        delivery=flags.delivery,
        dedupe_minutes=flags.dedupe_minutes,
        max_batch_rows=flags.max_batch_rows,
        max_batch_seconds=flags.max_batch_seconds,
        rules=MessageRules(
            # The subscription of a topic is made later, and named then.
            source=f"pubsub:{flags.subscription or ''}",
            columns=dict(one_header_each(flags.columns or ())),
            notation=Notation(date_format=flags.date_format),
            drift=Drift(flags.schema_drift),
            id_attribute=flags.id_attribute,
            categories=accepted.categories,
            regions=accepted.regions,
            transform=transform_of(flags),
        ),
        ending=Ending(flags.max_messages, flags.idle_timeout, flags.deadline),
        metrics_port=flags.metrics_port,
        live=live_spec(flags, table, run_id),
    )


def _check_flags_fit(flags: argparse.Namespace) -> None:
    """Raise ``ConfigError`` for what is missing, or would do nothing."""
    if flags.subscription is None and flags.topic is None:
        raise ConfigError(
            "nothing to read: give --subscription projects/P/subscriptions/S, or --topic"
        )
    if flags.bigquery_table is None and flags.output is None:
        raise ConfigError("nowhere to write: give --bigquery_table, --output, or both")
    if flags.output is not None and flags.journal is not None:
        raise ConfigError(
            f"--journal {flags.journal}: the journal of a lake is a part of it: leave it out"
        )
    exactly_once = flags.delivery == "exactly_once"
    if flags.journal is not None and not exactly_once:
        raise ConfigError("--journal is for --delivery exactly_once: leave it out, or add that")
    if exactly_once and flags.bigquery_table is None:
        raise ConfigError(
            "--delivery exactly_once is for BigQuery (a lake takes each row once in any case): "
            "give --bigquery_table too, or leave it out"
        )
    if flags.schema_drift == "keep" and flags.bigquery_table is None:
        raise ConfigError(
            "--schema_drift keep puts fields into a column of the table, and a lake has none for "
            "them: give --bigquery_table too, or choose discard or freeze"
        )
    if flags.max_batch_rows > _MOST_BATCH_ROWS:
        raise ConfigError(
            f"--max_batch_rows {flags.max_batch_rows}: expected at most {_MOST_BATCH_ROWS}"
        )
    if flags.output is None:
        for name, default in (("partition_by", "region_de_venta"), ("lake_flush_seconds", 60.0)):
            if getattr(flags, name) != default:
                raise ConfigError(f"--{name} is for a lake: leave it out, or give --output")


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65_535:
        raise ConfigError(f"--metrics_port {text}: expected a port, 0 to 65535")
    return int(text)
