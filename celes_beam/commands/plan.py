"""``celes-beam plan``: what a job on Dataflow would be, need and cost, before it is launched.

What looks and reckons is imported where it is used, so that ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from celes_beam.commands.pipeline_parsers import BATCH, PARSERS, STREAMING
from celes_beam.commands.plan_flags import add_plan_flags, job_of
from celes_beam.errors import ConfigError
from celes_beam.plan.job import Kind

if TYPE_CHECKING:
    from celes_beam.commands.batch_options import BatchOptions
    from celes_beam.commands.plan_report import Plan
    from celes_beam.commands.stream_options import StreamOptions
    from celes_beam.doctor.check import Check
    from celes_beam.plan.cost import Estimate
    from celes_beam.plan.job import Job
    from celes_beam.plan.prices import Prices
    from celes_beam.plan.refusals import Refusal, StreamShape

_DESCRIPTION = """\
Tell what a job on Dataflow would be, before it is launched: its settings, what it reads, the quotas
it needs, missing permissions, and what it would cost. Nothing is launched, made or changed. Give
the flags of the launch: the pipeline's own, and those of the job by Beam's names or by the names of
celes-beam deploy run. What is known to break is refused, each with its remedy, and the exit code is
2. Ends with 1 when a check failed.
"""
_KINDS: tuple[Kind, ...] = ("batch", "streaming")


def add_plan_command(groups: argparse._SubParsersAction[Any]) -> None:
    """Add ``plan`` to the command line."""
    command = groups.add_parser(
        "plan",
        help="tell what a job on Dataflow would be, need and cost, before it is launched",
        allow_abbrev=False,
    )
    kinds = command.add_subparsers(title="pipelines", metavar="PIPELINE", required=True)
    for kind in _KINDS:
        one = kinds.add_parser(
            kind,
            help=f"a job of pipelines.{kind}",
            description=_DESCRIPTION,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
            parents=[PARSERS[BATCH if kind == "batch" else STREAMING]()],
            add_help=False,
        )
        add_plan_flags(one, kind)
        one.set_defaults(run=_plan_batch if kind == "batch" else _plan_stream)


def _plan_batch(flags: argparse.Namespace) -> int:
    from celes_beam.commands.batch_options import batch_options  # noqa: PLC0415
    from celes_beam.commands.plan_looks import BatchLook, all_checks  # noqa: PLC0415
    from celes_beam.commands.plan_report import Plan  # noqa: PLC0415
    from celes_beam.doctor.examine import Setup  # noqa: PLC0415
    from celes_beam.plan.asked import Asked  # noqa: PLC0415
    from celes_beam.plan.google import Google  # noqa: PLC0415
    from celes_beam.plan.prices import read_prices  # noqa: PLC0415
    from celes_beam.plan.quotas import needs_of  # noqa: PLC0415
    from celes_beam.plan.refusals import refusals  # noqa: PLC0415

    options, prices, job = batch_options(flags), read_prices(flags.prices), job_of(flags, "batch")
    places = [*(("--input", path) for path in options.inputs), ("--output", options.output)]
    refused = [*refusals(job, places), *_batch_refusals(options)]
    if refused:
        return _refuse(refused, as_json=flags.json)
    look = BatchLook(options)
    table = str(options.warehouse.table) if options.warehouse else None
    checks: list[Check] = []
    asked = Asked(Google.of_this_machine)
    if not flags.offline:
        setup = Setup(options.inputs, options.output, table, project=job.project)
        checks, asked = all_checks(job, setup, None, look.looks)
    plan = Plan(
        job=job,
        parameters=_parameters(flags, BATCH),
        reads=look.told(),
        figures=look.figures(),
        needs=[*needs_of(job, asked.quotas, None, loads=table is not None)],
        checks=checks,
        estimate=_one_run(flags, job, options, prices, look.files),
        unpriced="not known: what is to be read was not looked at; give --input_gb",
        prices=prices.note,
    )
    return _show(plan, as_json=flags.json)


def _one_run(
    flags: argparse.Namespace,
    job: Job,
    options: BatchOptions,
    prices: Prices,
    files: list[tuple[str, int]] | None,
) -> Estimate | None:
    from celes_beam.plan.cost import estimate_batch, work_of  # noqa: PLC0415

    if flags.input_gb is not None:
        files = [("", int(flags.input_gb * 1e9))]
    if files is None and not options.generates:
        return None
    rows = options.config.rows if options.generates else None
    work = work_of(files or (), prices, rows=rows, writes_table=options.warehouse is not None)
    return estimate_batch(job, work, prices)


def _plan_stream(flags: argparse.Namespace) -> int:
    from celes_beam.commands.plan_looks import StreamLook, all_checks  # noqa: PLC0415
    from celes_beam.commands.plan_report import Plan  # noqa: PLC0415
    from celes_beam.commands.stream_options import stream_options  # noqa: PLC0415
    from celes_beam.doctor.examine import Setup  # noqa: PLC0415
    from celes_beam.plan.asked import Asked  # noqa: PLC0415
    from celes_beam.plan.google import Google  # noqa: PLC0415
    from celes_beam.plan.prices import read_prices  # noqa: PLC0415
    from celes_beam.plan.quotas import needs_of, stream_doubts  # noqa: PLC0415
    from celes_beam.plan.refusals import StreamShape, refusals, stream_refusals  # noqa: PLC0415

    options, prices = stream_options(flags), read_prices(flags.prices)
    job = job_of(flags, "streaming")
    given = flags.message_bytes
    shape = StreamShape(
        options.delivery,
        options.max_batch_rows,
        options.max_batch_seconds,
        flags.rate,
        prices.supposed.message_bytes if given is None else given,
    )
    places = [("--output", options.output)] if options.output else []
    refused = [*refusals(job, places), *stream_refusals(job, shape), *_stream_refusals(options)]
    if refused:
        return _refuse(refused, as_json=flags.json)
    look = StreamLook(options)
    checks: list[Check] = []
    asked = Asked(Google.of_this_machine)
    if not flags.offline:
        table = str(options.warehouse.table) if options.warehouse else None
        named = None if options.topic else look.subscription
        setup = Setup((), options.output, table, options.topic, named, job.project)
        checks, asked = all_checks(job, setup, look.subscription, look.looks)
    if look.refused:
        return _refuse(look.refused, as_json=flags.json)
    checks += stream_doubts(shape)
    backlog = asked.backlog
    waits = f"{backlog.messages:,} messages wait" if backlog else "its backlog is not known"
    plan = Plan(
        job=job,
        parameters=_parameters(flags, STREAMING),
        reads=f"{look.subscription}; {waits}",
        figures={
            "subscription": look.subscription,
            "backlog_messages": backlog.messages if backlog else None,
            "oldest_seconds": backlog.oldest_seconds if backlog else None,
        },
        needs=[*needs_of(job, asked.quotas, shape, loads=False)],
        checks=checks,
        estimate=_month(job, options, shape, prices) if flags.rate is not None else None,
        unpriced="not known: give --rate, messages a second",
        prices=prices.note,
    )
    return _show(plan, as_json=flags.json)


def _month(
    job: Job,
    options: StreamOptions,
    shape: StreamShape,
    prices: Prices,
) -> Estimate:
    from celes_beam.plan.cost import estimate_month  # noqa: PLC0415

    return estimate_month(
        job,
        shape,
        prices,
        writes_lake=options.output is not None,
        writes_table=options.warehouse is not None,
        flush_seconds=options.lake_flush_seconds,
    )


def _batch_refusals(options: BatchOptions) -> Iterator[Refusal]:
    from celes_beam.plan.refusals import Refusal  # noqa: PLC0415

    if options.watch is not None:
        yield Refusal(
            "--watch does not end, and is for a machine of yours",
            "leave it out, and launch jobs with --if_exists append",
        )


def _stream_refusals(options: StreamOptions) -> Iterator[Refusal]:
    from celes_beam.plan.refusals import Refusal  # noqa: PLC0415

    here = {**dataclasses.asdict(options.ending), "metrics_port": options.metrics_port}
    here["journal"] = options.journal
    for name, value in here.items():
        if value is not None:
            yield Refusal(f"--{name} is for a run on a machine of yours", "leave it out")
    if options.topic is not None and options.topic == options.dead_letter_topic:
        yield Refusal(
            f"--dead_letter_topic {options.topic} is the topic that is read: rejected messages "
            "would come again for ever",
            "give another topic",
        )


def _parameters(flags: argparse.Namespace, pipeline: str) -> dict[str, Any]:
    """The pipeline's own flags that are not as they are by default."""
    parser = PARSERS[pipeline]()
    told: dict[str, Any] = {}
    for action in parser._actions:
        value = getattr(flags, action.dest, None)
        if action.dest not in ("help", *told) and value != parser.get_default(action.dest):
            told[action.dest] = list(value) if isinstance(value, tuple) else value
    return told


def _refuse(refused: Sequence[Refusal], *, as_json: bool) -> int:
    if as_json:
        content = {"ok": False, "refused": [dataclasses.asdict(one) for one in refused]}
        print(json.dumps(content, ensure_ascii=False, indent=2))
    else:
        for one in refused:
            print(f"celes-beam: {one}", file=sys.stderr)
    return ConfigError.exit_code


def _show(plan: Plan, *, as_json: bool) -> int:
    from celes_beam.commands.console import console_for  # noqa: PLC0415

    if as_json:
        print(json.dumps(plan.to_dict(), ensure_ascii=False, indent=2, default=str))
    else:
        plan.print(console_for(sys.stdout))
    return 1 if plan.failed else 0
