"""Dead letters back through: rejected rows judged by today's rules, and taken into a lake.

    rejected rows of a lake, a table or a topic
      └─ gathered in files ─ Reshuffle ─ Stage (judge, split, write, sum) ─ Commit

A replay is a commit. It lists the rows that it took up, and no later one takes them again.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from celes_beam.commands.command_line import run_and_show
from celes_beam.commands.flags import add_run_flags, flag_parser, known_flags, parse_flags
from celes_beam.commands.replay_options import add_replay_flags

# Beam takes a second to import, and the rest half of one: only once the flags are right.
if TYPE_CHECKING:
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    from celes_beam.commands.replay_options import ReplayOptions
    from celes_beam.commands.replay_summary import ReplaySummary
    from celes_beam.sales.replay import ReplayRules
    from celes_beam.stores.lake.lake import Lake
    from celes_beam.stores.lake.manifest import Manifest
    from celes_beam.stores.replay.gathered import GatheredShard
    from celes_beam.stores.replay.headers import Headers
    from celes_beam.stores.replay.selection import Chooser
    from celes_beam.stores.replay.sources import RejectedRows

PROGRAM = "pipelines.replay"
DESCRIPTION = (
    "Judge rejected rows once more, by today's rules and with a fix of yours; take the accepted "
    "ones into a lake, and keep the others with one attempt more. No row is replayed twice."
)


def build(
    pipeline: beam.Pipeline,
    options: ReplayOptions,
    lake: Lake,
    draft: Manifest,
    shards: Sequence[GatheredShard],
    how: ReplayRules,
    *,
    threads: int = 0,
    spread: bool = True,
) -> beam.PCollection[Manifest]:
    """Build the pipeline that judges, stages and commits ``draft``; yields it as decided.

    ``shards`` are files of the rows that ``draft`` says it replays. ``threads`` work on the shards
    of one bundle; 0 is one a core. ``spread`` shares the shards out to several workers.
    """
    import apache_beam as beam  # noqa: PLC0415

    from celes_beam.stores.lake.ingest import RejectedLimit  # noqa: PLC0415
    from celes_beam.stores.lake.parquet_writer import Layout  # noqa: PLC0415
    from celes_beam.stores.replay.gathered import GatheredRows  # noqa: PLC0415
    from celes_beam.transforms.commit import CommitLake  # noqa: PLC0415
    from celes_beam.transforms.stage import StageSales  # noqa: PLC0415

    source = GatheredRows(lake.storage.root, how)
    area = lake.storage.staging_area(draft.staging)
    layout = Layout(draft.partition_by, options.target_file_bytes)
    gathered = pipeline | "Shards" >> beam.Create(shards, reshuffle=False)
    if spread:
        gathered = gathered | "Reshuffle" >> beam.Reshuffle()
    return (
        gathered
        | "Stage" >> StageSales(source, area, layout, options.run_id, threads)
        | "Commit" >> CommitLake(lake.storage.root, draft, RejectedLimit())
    )


def run(argv: Sequence[str] | None = None) -> ReplaySummary:
    """Replay what a command line asks for, and say what came of it.

    Raises the errors of ``celes_beam.errors``; see ``main`` for their exit codes.
    """
    flags, options, beam_flags = _asked_for(sys.argv[1:] if argv is None else argv)
    with closing(_open(options)) as rows:
        if options.dry_run:
            summary = _rehearse(options, rows)
        else:
            summary = _replay(options, rows, beam_flags, progress=flags.progress)
    if flags.summary_json:
        summary.write_json(flags.summary_json)
    return summary


def _asked_for(argv: Sequence[str]) -> tuple[argparse.Namespace, ReplayOptions, PipelineOptions]:
    parser = flag_parser(PROGRAM, DESCRIPTION, add_replay_flags, add_run_flags)
    flags, beam_argv = parse_flags(parser, argv)

    from celes_beam.commands.console import check_json_target  # noqa: PLC0415
    from celes_beam.commands.replay_options import replay_options  # noqa: PLC0415

    options = replay_options(flags)
    check_json_target(flags.summary_json, options.output)

    from celes_beam.transforms.options import beam_options, new_pipeline  # noqa: PLC0415

    beam_flags = beam_options(beam_argv, known_flags(parser))
    # What the runner lacks is said before rows are looked for.
    new_pipeline(beam_flags)
    return flags, options, beam_flags


def _open(options: ReplayOptions) -> RejectedRows:
    from celes_beam.stores.replay.sources import is_subscription, open_rows  # noqa: PLC0415
    from celes_beam.stores.replay.topic import TopicRows  # noqa: PLC0415

    if is_subscription(options.source):
        return TopicRows(
            options.source, max_messages=options.max_messages, idle_timeout=options.idle_timeout
        )
    return open_rows(options.source, options.runs, options.selection)


def _chooser(options: ReplayOptions, lake: Lake, manifests: Sequence[Manifest]) -> Chooser:
    from celes_beam.stores.lake.replayed import replayed_before  # noqa: PLC0415
    from celes_beam.stores.replay.fingerprint import judged_at  # noqa: PLC0415
    from celes_beam.stores.replay.selection import Chooser  # noqa: PLC0415

    judged = frozenset() if options.again else judged_at(manifests, _fingerprint(options))
    return Chooser(options.selection, replayed_before(lake.storage, manifests), judged)


def _fingerprint(options: ReplayOptions) -> str:
    from celes_beam.stores.replay.fingerprint import fingerprint  # noqa: PLC0415

    return fingerprint(options.rules, options.how, options.csv_header)


def _headers(options: ReplayOptions) -> Headers:
    from celes_beam.stores.replay.headers import Headers  # noqa: PLC0415

    return Headers(options.how, options.csv_header)


def _rules(options: ReplayOptions, headers: Headers) -> ReplayRules:
    from celes_beam.sales.replay import ReplayRules  # noqa: PLC0415

    how = options.how
    return ReplayRules(
        options.rules, headers.found, how.mapping, how.dialect.notation, how.transform
    )


def _rehearse(options: ReplayOptions, rows: RejectedRows) -> ReplaySummary:
    """What would become of the rows; nothing is written, and nothing taken."""
    from celes_beam.commands.replay_summary import ReplaySummary  # noqa: PLC0415
    from celes_beam.sales.aggregate import Sums, sum_batch  # noqa: PLC0415
    from celes_beam.sales.replay import replay  # noqa: PLC0415
    from celes_beam.stores.lake.commit import CommitLog  # noqa: PLC0415
    from celes_beam.stores.lake.lake import Lake  # noqa: PLC0415
    from celes_beam.stores.lake.rejects import Rejections, count_rejections  # noqa: PLC0415
    from celes_beam.stores.replay.sources import take  # noqa: PLC0415

    started = time.perf_counter()
    rows.check()
    lake = Lake.open(options.output)
    chooser = _chooser(options, lake, CommitLog(lake.storage).load().manifests)
    headers = _headers(options)
    sums, after = Sums(), Rejections()
    for batch in take(rows, chooser, headers):
        for checked in replay(batch, _rules(options, headers)):
            sums += sum_batch(checked.accepted)
            after += count_rejections(checked.rejected)
    return ReplaySummary(
        status="dry_run" if chooser.tally.rows else "nothing_to_replay",
        source=rows.name,
        lake=options.output,
        run_id=options.run_id,
        before=chooser.tally.by_reason,
        accepted=sums.whole.rows,
        after=after,
        total=str(sums.whole.total),
        tally=chooser.tally,
        seconds=time.perf_counter() - started,
    )


def _replay(
    options: ReplayOptions, rows: RejectedRows, beam_flags: PipelineOptions, *, progress: str
) -> ReplaySummary:
    from celes_beam.stores.lake.lake import Lake  # noqa: PLC0415
    from celes_beam.stores.warehouse.warehouse import Warehouse  # noqa: PLC0415

    rows.check()
    lake = Lake.open(options.output)
    partition_by = options.partition_by or _partition_by(lake)
    decided = lake.prepare(
        run_id=options.run_id, if_exists="append", partition_by=options.partition_by
    )
    warehouse = None
    if options.warehouse is not None:
        warehouse = Warehouse(options.warehouse, lake)
        warehouse.prepare(partition_by=partition_by, run_id=options.run_id)
    if decided is None:
        summary = _take_up(options, lake, partition_by, rows, beam_flags, progress=progress)
    else:
        summary = _summary_of_decided(options, decided)
    return summary if warehouse is None else dataclasses.replace(summary, loaded=warehouse.load())


def _summary_of_decided(options: ReplayOptions, decided: Manifest) -> ReplaySummary:
    from celes_beam.commands.replay_summary import ReplaySummary  # noqa: PLC0415
    from celes_beam.errors import ConfigError  # noqa: PLC0415

    if decided.replayed is None:
        raise ConfigError(
            f"--run_id {options.run_id}: the lake has a commit of that name, which is no replay: "
            "choose another"
        )
    return ReplaySummary.of(decided, options.output, "already_committed")


def _partition_by(lake: Lake) -> tuple[str, ...]:
    """What the newest commit with rows is partitioned by; the default in an empty lake."""
    from celes_beam.contract import REGION  # noqa: PLC0415

    runs = reversed(lake.runs())
    return next((m.partition_by for m in runs if m.files), (REGION,))


def _take_up(
    options: ReplayOptions,
    lake: Lake,
    partition_by: tuple[str, ...],
    rows: RejectedRows,
    beam_flags: PipelineOptions,
    *,
    progress: str,
) -> ReplaySummary:
    """Gather rows, judge them, and commit; what was staged is gone when that fails."""
    from celes_beam.commands.replay_summary import ReplaySummary  # noqa: PLC0415
    from celes_beam.errors import IntegrityError  # noqa: PLC0415
    from celes_beam.stores.lake.commit import conflict  # noqa: PLC0415
    from celes_beam.stores.lake.rejects import Rejections  # noqa: PLC0415
    from celes_beam.stores.replay.sources import rejected_of  # noqa: PLC0415

    started = time.perf_counter()
    chooser, headers = _chooser(options, lake, lake.runs()), _headers(options)
    staging = lake.staging(options.run_id)
    try:
        shards = _gather(lake, staging, rows, chooser, headers)
        if shards:
            draft = _draft(options, lake, staging, partition_by, rows.name, chooser)
            how = _rules(options, headers)
            _commit(options, lake, draft, shards, how, beam_flags, progress=progress)
    except BaseException as error:
        decided = lake.find(options.run_id)
        if decided is None:
            lake.discard(staging)
        elif decided.staging != staging:
            # The winner of a race has swept our staging away, under the feet of our workers.
            raise conflict(decided) from error
        raise
    if not shards:
        lake.discard(staging)
        rows.settle()
        return ReplaySummary(
            status="nothing_to_replay",
            source=rows.name,
            lake=options.output,
            run_id=options.run_id,
            before={},
            accepted=0,
            after=Rejections(),
            tally=chooser.tally,
            seconds=time.perf_counter() - started,
        )
    decided = lake.find(options.run_id)
    if decided is None:
        raise IntegrityError(
            f"the pipeline ended, but run {options.run_id} is not among the commits of "
            f"{options.output}: look at the log of its workers, and run again with this --run_id"
        )
    sent = 0
    if options.dead_letter_topic is not None:
        sent = rows.send_again(options.dead_letter_topic, rejected_of(lake, decided))
    rows.settle()
    return ReplaySummary.of(
        decided,
        options.output,
        "committed",
        tally=chooser.tally,
        seconds=time.perf_counter() - started,
        sent_again=sent,
    )


def _gather(
    lake: Lake, staging: str, rows: RejectedRows, chooser: Chooser, headers: Headers
) -> list[GatheredShard]:
    from celes_beam.stores.replay.gathered import GATHERED, Gatherer  # noqa: PLC0415
    from celes_beam.stores.replay.sources import take  # noqa: PLC0415

    folder = f"{staging}/{GATHERED}"
    gatherer = Gatherer(lake.storage.staging_area(folder), folder)
    try:
        for batch in take(rows, chooser, headers):
            gatherer.write(batch)
        return gatherer.close()
    except BaseException:
        gatherer.abandon()
        raise


def _draft(
    options: ReplayOptions,
    lake: Lake,
    staging: str,
    partition_by: tuple[str, ...],
    source: str,
    chooser: Chooser,
) -> Manifest:
    """Begin the manifest, and stage the list of what is replayed."""
    import msgspec  # noqa: PLC0415

    from celes_beam.stores.lake.ingest import draft_manifest  # noqa: PLC0415
    from celes_beam.stores.lake.manifest import Replayed  # noqa: PLC0415
    from celes_beam.stores.lake.replayed import stage_list  # noqa: PLC0415

    draft = draft_manifest(
        run_id=options.run_id,
        if_exists="append",
        staging=staging,
        partition_by=partition_by,
        rules=options.rules,
    )
    area = lake.storage.staging_area(staging)
    replayed = Replayed(
        source=source,
        files=(stage_list(area, options.run_id, chooser.identities),),
        by_reason=dict(chooser.tally.by_reason),
        rules=_fingerprint(options),
    )
    return msgspec.structs.replace(draft, replayed=replayed)


def _commit(
    options: ReplayOptions,
    lake: Lake,
    draft: Manifest,
    shards: Sequence[GatheredShard],
    how: ReplayRules,
    beam_flags: PipelineOptions,
    *,
    progress: str,
) -> None:
    """Judge, stage and commit by one pipeline."""
    from celes_beam.transforms.options import is_local, new_pipeline, run_to_end  # noqa: PLC0415

    pipeline = new_pipeline(beam_flags)
    local = is_local(beam_flags)
    threads = 0 if local else 1
    build(pipeline, options, lake, draft, shards, how, threads=threads, spread=not local)
    total = sum(shard.rows for shard in shards)
    run_to_end(pipeline, beam_flags, run_id=options.run_id, total=total, progress=progress)


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print the summary, and return the exit code."""
    return run_and_show(PROGRAM, run, argv)


if __name__ == "__main__":
    sys.exit(main())
