"""Messages of Pub/Sub in; rows in BigQuery and a lake, and dead letters out.

    off Dataflow   Pull ─ Deliver (check, journal, append, dead letters: one fused step)
    on Dataflow    Read ─ batches ─ Reshuffle ─ [Open streams ─ Reshuffle] ─ Deliver ─ Flush

A message is acknowledged when its rows are where they belong. Elements are whole batches.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from celes_beam.commands.command_line import run_and_show
from celes_beam.commands.flags import known_flags, parse_flags
from celes_beam.commands.pipeline_parsers import streaming_parser
from celes_beam.errors import ConfigError

# Beam takes a second to import, and the rest half of one: only once the flags are right.
if TYPE_CHECKING:
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    from celes_beam.commands.launched import Launched
    from celes_beam.commands.stream_options import StreamOptions
    from celes_beam.commands.stream_status import StreamFigures
    from celes_beam.commands.stream_summary import StreamSummary
    from celes_beam.stores.messages.subscription import SubscriptionFacts
    from celes_beam.stores.stream.delivery import Delivered, DeliverySpec

PROGRAM = "pipelines.streaming"
_LOGGER = logging.getLogger(__name__)
_STOPPING = "stopping when what was pulled is written and acknowledged; once more stops at once"


def build(
    pipeline: beam.Pipeline,
    options: StreamOptions,
    spec: DeliverySpec,
    facts: SubscriptionFacts,
    *,
    native: bool = False,
) -> None:
    """Build the pipeline; ``native`` is for Dataflow, which has a source and shuffle of its own."""
    from celes_beam.transforms.deliver import (  # noqa: PLC0415
        DeliverMessages,
        FlushLake,
        OpenStreams,
    )
    from celes_beam.transforms.pubsub import PullMessages, ReadNativeBatches  # noqa: PLC0415

    if not native:
        delivered = (
            pipeline
            | "Pull"
            >> PullMessages(
                facts.path,
                options.run_id,
                max_batch_rows=options.max_batch_rows,
                max_batch_seconds=options.max_batch_seconds,
                ack_deadline=facts.ack_deadline_seconds,
                **dataclasses.asdict(options.ending),
            )
            | "Deliver" >> DeliverMessages(spec)
        )
        _add_live_windows(delivered, options)
        return
    batches = pipeline | "Messages" >> ReadNativeBatches(
        facts.path,
        options.rules.id_attribute,
        max_batch_rows=options.max_batch_rows,
        max_batch_seconds=options.max_batch_seconds,
    )
    placed = spec.is_exactly_once
    if placed:
        batches = batches | "Place" >> OpenStreams(spec)
    delivered = batches | "Deliver" >> DeliverMessages(spec, placed)
    _add_live_windows(delivered, options)
    if spec.lake is not None:
        _ = delivered | "Flush" >> FlushLake(spec)


def _add_live_windows(delivered: beam.PCollection[Delivered], options: StreamOptions) -> None:
    from celes_beam.transforms.live import LiveWindows  # noqa: PLC0415

    if options.live is not None:
        delivered | "Live" >> LiveWindows(options.live, options.run_id)


def run(argv: Sequence[str] | None = None) -> StreamSummary | Launched:
    """Run the pipeline that a command line asks for until it ends, and say what came of it.

    Raises the errors of ``celes_beam.errors``; see ``main`` for their exit codes.
    """
    parser = streaming_parser()
    flags, beam_argv = parse_flags(parser, sys.argv[1:] if argv is None else argv)

    from celes_beam.commands.console import check_json_target  # noqa: PLC0415
    from celes_beam.commands.stream_options import stream_options  # noqa: PLC0415

    options = stream_options(flags)
    check_json_target(flags.summary_json, options.output or "")

    from celes_beam.transforms.options import beam_options, is_native, new_pipeline  # noqa: PLC0415
    from celes_beam.transforms.portable import is_elsewhere  # noqa: PLC0415

    beam_flags = beam_options(beam_argv, known_flags(parser))
    native = is_native(beam_flags)
    _set_streaming(beam_flags, options, native=native)
    pipeline = new_pipeline(beam_flags)
    options, facts = _look_at_messages(options, native=native)
    spec = delivery_spec(options, native=native)
    _prepare(options)
    build(pipeline, options, spec, facts, native=native)
    summary: StreamSummary | Launched
    if native:
        summary = _launch(pipeline, options)
    elif is_elsewhere(beam_flags):
        summary = _launch_on_flink(pipeline, options)
    else:
        summary = _run_here(pipeline, beam_flags, options, spec, flags)
    if flags.summary_json:
        summary.write_json(flags.summary_json)
    return summary


def delivery_spec(options: StreamOptions, *, native: bool) -> DeliverySpec:
    """What is fixed for every batch of a run. Raises ``ConfigError`` for a journal that lacks."""
    from celes_beam.stores.stream.delivery import DeliverySpec  # noqa: PLC0415

    if native and options.journal is not None:
        raise ConfigError("--journal is for other runners than Dataflow: leave it out")
    return DeliverySpec(
        message_rules=options.rules,
        run_id=options.run_id,
        table=options.warehouse,
        lake=options.output,
        journal=options.journal,
        dead_letter_topic=options.dead_letter_topic,
        delivery=options.delivery,
        layout=options.layout,
        dedupe_minutes=options.dedupe_minutes,
        flush_seconds=options.lake_flush_seconds,
        stable_batches=native,
        live=options.live,
    )


def _set_streaming(beam_flags: PipelineOptions, options: StreamOptions, *, native: bool) -> None:
    """Make an unbounded pipeline of it, and refuse what would do nothing, or lose messages."""
    from apache_beam.options.pipeline_options import (  # noqa: PLC0415
        DirectOptions,
        StandardOptions,
    )

    from celes_beam.transforms.dataflow import check_job  # noqa: PLC0415
    from celes_beam.transforms.flink_stream import check_end  # noqa: PLC0415
    from celes_beam.transforms.live import check_live_windows  # noqa: PLC0415
    from celes_beam.transforms.portable import is_elsewhere  # noqa: PLC0415

    beam_flags.view_as(StandardOptions).streaming = True
    if options.live is not None:
        check_live_windows(beam_flags)
    workers = beam_flags.view_as(DirectOptions).direct_num_workers
    if workers != 1:
        raise ConfigError(
            f"--direct_num_workers {workers}: that runner loses messages of a stream with more "
            "than one worker: leave it out"
        )
    if native:
        _refuse_flags(
            options, "on Dataflow a job is drained (gcloud dataflow jobs drain JOB)", "Dataflow"
        )
        check_job(beam_flags, {"--output": options.output})
    elif is_elsewhere(beam_flags):
        _refuse_flags(options, "with workers elsewhere a job is cancelled in Flink", "Flink")
    else:
        check_end(beam_flags)


def _refuse_flags(options: StreamOptions, how_it_ends: str, who: str) -> None:
    for name, value in dataclasses.asdict(options.ending).items():
        if value is not None:
            raise ConfigError(f"--{name} is for a run in this process: {how_it_ends}; leave it out")
    if options.metrics_port is not None:
        raise ConfigError(f"--metrics_port is for a run in this process: {who} shows figures")


def _look_at_messages(
    options: StreamOptions, *, native: bool
) -> tuple[StreamOptions, SubscriptionFacts]:
    """Look at the subscription (made when a topic is read) and the dead-letter topic."""
    from celes_beam.stores.messages.dead_letter_topic import (  # noqa: PLC0415
        check_dead_letter_topic,
    )
    from celes_beam.stores.messages.paths import full_path  # noqa: PLC0415
    from celes_beam.stores.messages.subscription import (  # noqa: PLC0415
        check_subscription,
        subscription_for_topic,
    )

    if options.topic is not None:
        name = f"{options.topic.split('/')[-1]}-celes-beam"
        facts = subscription_for_topic(options.topic, name)
        _LOGGER.info("reading %s by subscription %s", options.topic, facts.path)
    else:
        facts = check_subscription(options.subscription or "", native=native)
    if facts.ordered:
        _LOGGER.warning(
            "%s has message ordering, which is slow and buys nothing here: Pub/Sub gives the next "
            "messages of a key when those before are acknowledged",
            facts.path,
        )
    if native and facts.dead_letter_topic is not None:
        raise ConfigError(
            f"{facts.path} has a dead-letter policy ({facts.dead_letter_topic}), which Dataflow "
            "does not support: it would send away messages that are being worked on; take it off "
            f"(gcloud pubsub subscriptions update {facts.path} --clear-dead-letter-policy), and "
            "give --dead_letter_topic"
        )
    letters = options.dead_letter_topic
    if letters is not None:
        letters = full_path(letters, "topic", "--dead_letter_topic")
        check_dead_letter_topic(letters, facts)
    rules = dataclasses.replace(options.rules, source=f"pubsub:{facts.path}")
    options = dataclasses.replace(options, subscription=facts.path, rules=rules)
    return dataclasses.replace(options, dead_letter_topic=letters), facts


def _prepare(options: StreamOptions) -> None:
    """Make the tables, and find out early that the lake cannot be appended to."""
    from celes_beam.sales.messages import Drift  # noqa: PLC0415
    from celes_beam.stores.lake.lake import Lake  # noqa: PLC0415
    from celes_beam.stores.warehouse.live_table import make_live_table  # noqa: PLC0415
    from celes_beam.stores.warehouse.stream_tables import make_stream  # noqa: PLC0415

    layout = options.layout
    if options.output is not None:
        Lake.open(options.output).prepare(
            run_id=options.run_id, if_exists="append", partition_by=layout.partition_by
        )
    if options.warehouse is not None:
        in_path = layout.partition_by if options.output is not None else ()
        keep = options.rules.drift is Drift.KEEP
        make_stream(options.warehouse, in_path, keep_other_fields=keep)
        if options.live is not None:
            make_live_table(options.warehouse, options.live.table)


def _launch(pipeline: beam.Pipeline, options: StreamOptions) -> Launched:
    """Start the job on Dataflow, and leave it running."""
    from celes_beam.commands.launched import Launched  # noqa: PLC0415
    from celes_beam.transforms.dataflow import launch  # noqa: PLC0415

    return Launched(options.run_id, launch(pipeline), options.subscription or "", is_streaming=True)


def _launch_on_flink(pipeline: beam.Pipeline, options: StreamOptions) -> Launched:
    """Start the job on a cluster whose workers are processes of their own, and leave it running."""
    from celes_beam.commands.launched import Launched  # noqa: PLC0415
    from celes_beam.transforms.flink_stream import launch  # noqa: PLC0415

    job = launch(pipeline, options.run_id)
    return Launched(options.run_id, job, options.subscription or "", is_streaming=True)


def _run_here(
    pipeline: beam.Pipeline,
    beam_flags: PipelineOptions,
    options: StreamOptions,
    spec: DeliverySpec,
    flags: argparse.Namespace,
) -> StreamSummary:
    """Run until an end or a signal; what was taken is then written, flushed and acknowledged."""
    from celes_beam.commands.prometheus import serve_metrics  # noqa: PLC0415
    from celes_beam.commands.stop_request import StopRequest  # noqa: PLC0415
    from celes_beam.commands.stream_status import watch_stream  # noqa: PLC0415
    from celes_beam.commands.stream_summary import StreamSummary, ended_by  # noqa: PLC0415
    from celes_beam.stores.messages.pulling import forget_pulling, pulling  # noqa: PLC0415
    from celes_beam.stores.stream.sharing import forget_delivery, shared_delivery  # noqa: PLC0415
    from celes_beam.transforms.options import run_until_stopped  # noqa: PLC0415
    from celes_beam.transforms.portable import is_portable  # noqa: PLC0415

    pulled, delivery = pulling(options.run_id), shared_delivery(options.run_id)
    started = time.perf_counter()
    with ExitStack() as shown:
        meter = shown.enter_context(watch_stream(options.run_id, mode=flags.progress))
        meter.follow(pulled.figures)
        delivery.tell_commits(meter.committed)
        shown.callback(forget_pulling, options.run_id)
        shown.callback(forget_delivery, options.run_id)
        if options.metrics_port is not None:
            shown.enter_context(serve_metrics(options.metrics_port, meter))
        run_until_stopped(
            pipeline,
            beam_flags,
            StopRequest(pulled.stop, _STOPPING),
            run_id=options.run_id,
            is_over=pulled.is_over,
        )
        delivery.finish(spec)
        figures = meter.read()
    # A job of Flink that was restarted goes on from its last checkpoint: some may be missing then.
    _check_live(options, figures, may_lack=is_portable(beam_flags))
    if pulled.failure is not None:
        raise pulled.failure
    return StreamSummary.of(
        figures,
        run_id=options.run_id,
        subscription=options.subscription or "",
        table=str(options.warehouse.table) if options.warehouse is not None else None,
        lake=options.output,
        dead_letter_topic=options.dead_letter_topic,
        seconds=time.perf_counter() - started,
        ended_by=ended_by(pulled.ended_by),
        live_table=str(options.live.table) if options.live is not None else None,
    )


def _check_live(options: StreamOptions, figures: StreamFigures, *, may_lack: bool) -> None:
    """Raise ``IntegrityError``, or warn, when live windows were not told whole."""
    from celes_beam.errors import IntegrityError  # noqa: PLC0415

    counted, told = figures.live_rows, figures.live_rows_told
    if options.live is None or told == counted or (may_lack and told > counted):
        return
    lack = (
        f"{counted:,} rows were counted in live windows, and {told:,} are in what was written to "
        f"{options.live.table}: the sales are in their table, by which the SQL of "
        "docs/live-windows.md sets the sums right"
    )
    if not may_lack:
        raise IntegrityError(f"{lack}; please report this")
    _LOGGER.warning("%s", lack)


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print the summary, and return the exit code."""
    return run_and_show(PROGRAM, run, argv)


if __name__ == "__main__":
    sys.exit(main())
