"""``celes-beam publish``: generated sales to a topic of Pub/Sub, at a steady rate.

Google's clients, NumPy and rich are imported where they are used, so that ``--help`` answers at
once.
"""

from __future__ import annotations

import argparse
import sys
import time
import uuid
from typing import TYPE_CHECKING, Any

from celes_beam.commands.dataset_flags import share
from celes_beam.commands.flag_values import number, positive_int, text_list, whole_number
from celes_beam.commands.flags import FlagParser, add_report_flags
from celes_beam.errors import CelesError, ConfigError

if TYPE_CHECKING:
    from celes_beam.sales.traffic import Traffic
    from celes_beam.stores.messages.publish import Pace, Sent

_DEFAULT_RATE = 1000.0
_DEFAULT_SECONDS = 60.0
_WEEK = 604_800.0
_STOPPING = "stopping when what is held back is sent; once more stops at once"
_DESCRIPTION = """\
Send generated sales to a topic of Pub/Sub, as JSON objects, to try a stream with.

Row i depends on the seed and i alone, and so does whether it is broken, late or double: what must
arrive is known. Each message has the attribute sale, SEED-ROW, which a double has again
(--id_attribute sale of pipelines.streaming tells them apart); a late one has the attribute late.
"""


def add_publish_command(groups: argparse._SubParsersAction[Any]) -> None:
    """Add ``publish`` to the command line."""
    command: FlagParser = groups.add_parser(
        "publish",
        help="send generated sales to a topic of Pub/Sub",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.add_argument(
        "--topic",
        required=True,
        metavar="TOPIC",
        help="projects/PROJECT/topics/NAME; of the local Pub/Sub the name will do",
    )
    command.add_argument(
        "--create_topic",
        action="store_true",
        help="make the topic if it is missing; in the local Pub/Sub it always is made",
    )
    command.add_argument(
        "--wait_for_subscription",
        type=number("--wait_for_subscription", 0.1, 3600.0),
        metavar="SECONDS",
        help="begin once the topic has a subscription, and wait for that so long; what is sent "
        "before is kept for nobody",
    )
    _add_pace_flags(command.add_argument_group("pace"))
    _add_sales_flags(command.add_argument_group("sales"))
    add_report_flags(command.add_argument_group("the run"))
    command.set_defaults(run=_publish)


def _add_pace_flags(group: Any) -> None:
    group.add_argument(
        "--rate",
        type=number("--rate", 0.0, 1e6),
        default=_DEFAULT_RATE,
        metavar="N",
        help="messages a second; 0 for as many as can be (default: 1000)",
    )
    group.add_argument(
        "--duration",
        type=number("--duration", 0.1, _WEEK),
        metavar="SECONDS",
        help="how long to send (default: 60, or as long as --rows take)",
    )
    group.add_argument(
        "--rows", type=positive_int("--rows"), metavar="N", help="end after so many rows"
    )
    group.add_argument(
        "--wait_for_acks",
        action="store_true",
        help="send a request when the one before is answered, so that messages are in order; "
        "slower. All are waited for at the end in any case",
    )


def _add_sales_flags(group: Any) -> None:
    group.add_argument(
        "--seed",
        type=whole_number("--seed"),
        metavar="N",
        help="the same seed makes the same sales, row for row (default: 42)",
    )
    group.add_argument(
        "--first_row",
        type=whole_number("--first_row"),
        default=0,
        metavar="N",
        help="begin with this row, such as the one after those sent before (default: 0)",
    )
    group.add_argument(
        "--rows_per_message",
        type=positive_int("--rows_per_message"),
        default=1,
        metavar="N",
        help="rows of a message, a line each when there are several (default: 1)",
    )
    for name, what in (
        ("error_rate", "rows to break on purpose, in every way that rows break"),
        ("late_share", "messages to send 1,000 to 10,000 messages after their place"),
        ("duplicate_share", "messages to send again, up to 1,000 messages later"),
    ):
        group.add_argument(
            f"--{name}",
            type=share(f"--{name}"),
            default=0.0,
            metavar="SHARE",
            help=f"share of {what}, such as 0.01 or 1%% (default: 0)",
        )
    group.add_argument(
        "--gzip", action="store_true", help="compress messages (attribute content-encoding: gzip)"
    )
    for name in ("categories", "regions"):
        group.add_argument(
            f"--{name}",
            type=text_list(f"--{name}"),
            metavar="A,B",
            help=f"{name} of the sales, comma list (default: those of the other commands)",
        )
    group.add_argument(
        "--config",
        metavar="FILE",
        help="YAML or TOML file with any field of the configuration; flags come before it",
    )


def _publish(flags: argparse.Namespace) -> int:
    from celes_beam.commands.console import console_for, write_json  # noqa: PLC0415
    from celes_beam.commands.progress import meter, watch  # noqa: PLC0415
    from celes_beam.commands.stop_request import StopRequest  # noqa: PLC0415
    from celes_beam.stores.cloud.clients import pubsub_is_emulated  # noqa: PLC0415
    from celes_beam.stores.messages.paths import full_path  # noqa: PLC0415
    from celes_beam.stores.messages.publish import publish  # noqa: PLC0415
    from celes_beam.stores.messages.topic_writer import (  # noqa: PLC0415
        check_topic,
        wait_for_subscription,
    )

    topic = full_path(flags.topic, "topic")
    traffic, pace = _traffic(flags), _pace(flags)
    is_new = check_topic(topic, may_create=flags.create_topic or pubsub_is_emulated())
    if flags.wait_for_subscription is not None:
        wait_for_subscription(topic, flags.wait_for_subscription)
    elif is_new:
        print(
            f"note: topic {topic} was made; messages reach subscriptions that are there when they "
            "are sent, and it has none yet",
            file=sys.stderr,
        )
    name = f"publish-{uuid.uuid4().hex}"
    count = meter(name)
    started = time.monotonic()

    def on_sent(rows: int) -> None:
        # Of a run that ends with the clock, the work to be done is its milliseconds.
        elapsed = round((time.monotonic() - started) * 1000)
        count.add(rows=rows, done=rows if pace.rows is not None else elapsed - count.done)

    total = pace.rows if pace.rows is not None else round((pace.seconds or 0) * 1000)
    stop = StopRequest(text=_STOPPING)
    try:
        with stop, watch(name, total, mode=flags.progress):
            sent = publish(
                traffic,
                topic,
                pace,
                should_stop=lambda: stop.asked,
                wait=stop.wait,
                on_sent=on_sent,
            )
    except CelesError:
        if count.rows:
            print(f"note: Pub/Sub had taken {count.rows:,} rows, copies included", file=sys.stderr)
        raise
    summary = to_dict(sent, traffic, topic, pace)
    _print(summary, console_for(sys.stdout))
    if flags.summary_json:
        write_json(flags.summary_json, summary)
    return 0


def _traffic(flags: argparse.Namespace) -> Traffic:
    from celes_beam.config import load_config  # noqa: PLC0415
    from celes_beam.sales.message_records import MAX_MESSAGE_RECORDS  # noqa: PLC0415
    from celes_beam.sales.traffic import Traffic  # noqa: PLC0415

    if flags.first_row < 0:
        raise ConfigError(f"--first_row {flags.first_row}: expected 0 or more")
    if flags.rows_per_message > MAX_MESSAGE_RECORDS:
        raise ConfigError(
            f"--rows_per_message {flags.rows_per_message}: expected at most {MAX_MESSAGE_RECORDS}, "
            "more than which are one malformed row to a stream"
        )
    given = {name: getattr(flags, name) for name in ("seed", "categories", "regions")}
    return Traffic(
        config=load_config(flags.config, given),
        first_row=flags.first_row,
        error_rate=flags.error_rate,
        late_share=flags.late_share,
        duplicate_share=flags.duplicate_share,
        rows_per_message=flags.rows_per_message,
        gzip=flags.gzip,
    )


def _pace(flags: argparse.Namespace) -> Pace:
    from celes_beam.commands.console import check_json_target  # noqa: PLC0415
    from celes_beam.stores.messages.publish import Pace  # noqa: PLC0415

    check_json_target(flags.summary_json)
    seconds = flags.duration
    if seconds is None and flags.rows is None:
        seconds = _DEFAULT_SECONDS
    return Pace(flags.rate, flags.rows, seconds, flags.wait_for_acks)


def to_dict(sent: Sent, traffic: Traffic, topic: str, pace: Pace) -> dict[str, Any]:
    """What was sent, as JSON holds it; times in seconds, sizes in bytes."""
    from celes_beam.sales.breakage import count_by_reason, plan_breakage  # noqa: PLC0415

    seed = traffic.config.seed
    _, kinds = plan_breakage(seed, sent.first_row, sent.rows, traffic.error_rate)
    broken = {str(reason): rows for reason, rows in count_by_reason(kinds).items()}
    return {
        "topic": topic,
        "seed": seed,
        "first_row": sent.first_row,
        "rows": sent.rows,
        "rows_broken": sum(broken.values()),
        "broken_by_reason": broken,
        "rows_per_message": traffic.rows_per_message,
        "messages": sent.messages,
        "messages_twice": sent.copies,
        "messages_late": sent.late,
        "messages_after_the_end": sent.held_back,
        "bytes": sent.bytes,
        "seconds": round(sent.seconds, 3),
        "rate_asked": pace.rate,
        "rate_reached": round(sent.rate, 1),
        "mean_lateness": round(sent.mean_lateness, 4),
        "max_lateness": round(sent.max_lateness, 4),
        "was_stopped": sent.was_stopped,
    }


def _print(summary: dict[str, Any], console: Any) -> None:
    from celes_beam.commands.console import facts_table  # noqa: PLC0415

    facts = facts_table()
    facts.add_row("messages", f"{summary['messages']:,}")
    for name, text in (
        ("messages_twice", "of them second copies"),
        ("messages_late", "of them late"),
        ("messages_after_the_end", "of them held back to the end"),
    ):
        if summary[name]:
            facts.add_row(f"  {text}", f"{summary[name]:,}")
    facts.add_row("rows", f"{summary['rows']:,}")
    if summary["rows_broken"]:
        facts.add_row("  of them broken", f"{summary['rows_broken']:,}")
    for reason, rows in summary["broken_by_reason"].items():
        facts.add_row(f"    {reason}", f"{rows:,}")
    facts.add_row("seed, rows", f"{summary['seed']}, {_row_range(summary)}")
    facts.add_row("size", f"{summary['bytes'] / 1e6:,.1f} MB")
    facts.add_row("time", f"{summary['seconds']:,.2f} s")
    asked = f" of {summary['rate_asked']:,g} asked" if summary["rate_asked"] else ""
    facts.add_row("rate", f"{summary['rate_reached']:,.0f} messages/s{asked}")
    if summary["rate_asked"]:
        facts.add_row(
            "lateness, mean and most",
            f"{summary['mean_lateness'] * 1000:,.0f} ms, {summary['max_lateness'] * 1000:,.0f} ms",
        )
    console.print(facts)
    how = "Stopped as asked; published" if summary["was_stopped"] else "Published"
    console.print(f"{how} to {summary['topic']}", soft_wrap=True, highlight=False, markup=False)
    if summary["was_stopped"]:
        following = summary["first_row"] + summary["rows"]
        console.print(f"--first_row {following} goes on from here.", highlight=False)


def _row_range(summary: dict[str, Any]) -> str:
    first, rows = summary["first_row"], summary["rows"]
    return f"{first:,} to {first + rows - 1:,}" if rows else "none"
