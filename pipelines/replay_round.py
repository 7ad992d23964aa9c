"""One replay: rejected rows gathered, judged, and committed.

    rejected rows of a lake, a table or a topic
      └─ gathered in files ─ Reshuffle ─ Stage (judge, split, write, sum) ─ Commit

Only descriptions cross an edge: files of gathered rows on the way in, staged files on the way out.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

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


def build(
    pipeline: beam.Pipeline,
    options: ReplayOptions,
    lake: Lake,
    draft: Manifest,
    shards: Sequence[GatheredShard],
    *,
    how: ReplayRules,
    threads: int = 0,
    spread: bool = True,
    only_attempt: bool = False,
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
        | "Commit"
        >> CommitLake(
            lake.storage.root, draft, RejectedLimit(), only_attempt=only_attempt, spread=spread
        )
    )


def chooser_of(options: ReplayOptions, lake: Lake, manifests: Sequence[Manifest]) -> Chooser:
    """What chooses rows, knowing those that commits of the lake have replayed."""
    from celes_beam.stores.lake.replayed import newest_overwrite, replayed_before  # noqa: PLC0415
    from celes_beam.stores.replay.fingerprint import judged_at  # noqa: PLC0415
    from celes_beam.stores.replay.selection import Chooser  # noqa: PLC0415

    judged = frozenset() if options.again else judged_at(manifests, _fingerprint(options))
    before = replayed_before(lake.storage, manifests)
    return Chooser(options.selection, before, judged, epoch=newest_overwrite(manifests))


def _fingerprint(options: ReplayOptions) -> str:
    from celes_beam.stores.replay.fingerprint import fingerprint  # noqa: PLC0415

    return fingerprint(options.rules, options.how, options.csv_header)


def headers_of(options: ReplayOptions) -> Headers:
    """What finds the headers of CSV files."""
    from celes_beam.stores.inputs.read_options import NDJSON  # noqa: PLC0415
    from celes_beam.stores.replay.headers import Headers  # noqa: PLC0415
    from celes_beam.stores.replay.sources import is_subscription  # noqa: PLC0415

    how = options.how
    if is_subscription(options.source):
        # Messages are JSON; and anybody can write any path into their attributes.
        how = dataclasses.replace(how, format=NDJSON)
    return Headers(how, options.csv_header)


def replay_rules(options: ReplayOptions, headers: Headers) -> ReplayRules:
    """How rows are judged, with the headers found so far."""
    from celes_beam.sales.replay import ReplayRules  # noqa: PLC0415

    how = options.how
    return ReplayRules(
        options.rules, headers.found, how.mapping, how.dialect.notation, how.transform
    )


def partition_by_of(lake: Lake) -> tuple[str, ...]:
    """What the newest commit with rows is partitioned by; the default in an empty lake."""
    from celes_beam.contract import REGION  # noqa: PLC0415

    runs = reversed(lake.runs())
    return next((m.partition_by for m in runs if m.files), (REGION,))


def take_up(
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
    from celes_beam.stores.lake.attempt import give_up  # noqa: PLC0415
    from celes_beam.stores.replay.sources import rejected_of  # noqa: PLC0415

    started = time.perf_counter()
    chooser, headers = chooser_of(options, lake, lake.runs()), headers_of(options)
    staging = lake.staging(options.run_id)
    try:
        shards = gather(lake, staging, rows, chooser, headers)
        if shards:
            draft = draft_of(
                options,
                lake,
                staging,
                partition_by=partition_by,
                source=rows.name,
                chooser=chooser,
            )
            how = replay_rules(options, headers)
            _commit(options, lake, draft, shards, how=how, beam_flags=beam_flags, progress=progress)
    except BaseException as error:
        give_up(lake, options.run_id, staging, error)
        raise
    if not shards:
        lake.discard(staging)
        rows.settle()
        return nothing_to_replay(options, rows, chooser, time.perf_counter() - started)
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


def nothing_to_replay(
    options: ReplayOptions, rows: RejectedRows, chooser: Chooser, seconds: float
) -> ReplaySummary:
    """The summary of a replay that found no row to take up."""
    from celes_beam.commands.replay_summary import ReplaySummary  # noqa: PLC0415
    from celes_beam.stores.lake.rejects import Rejections  # noqa: PLC0415

    return ReplaySummary(
        status="nothing_to_replay",
        source=rows.name,
        lake=options.output,
        run_id=options.run_id,
        before={},
        accepted=0,
        after=Rejections(),
        tally=chooser.tally,
        seconds=seconds,
    )


def gather(
    lake: Lake, staging: str, rows: RejectedRows, chooser: Chooser, headers: Headers
) -> list[GatheredShard]:
    """Write the rows that are chosen to files in a staging folder of the lake."""
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


def draft_of(
    options: ReplayOptions,
    lake: Lake,
    staging: str,
    *,
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
        epoch=chooser.epoch,
    )
    return msgspec.structs.replace(draft, replayed=replayed)


def _commit(
    options: ReplayOptions,
    lake: Lake,
    draft: Manifest,
    shards: Sequence[GatheredShard],
    *,
    how: ReplayRules,
    beam_flags: PipelineOptions,
    progress: str,
) -> None:
    """Judge, stage and commit by one pipeline."""
    from celes_beam.transforms.options import is_local, new_pipeline, run_to_end  # noqa: PLC0415

    pipeline = new_pipeline(beam_flags)
    local = is_local(beam_flags)
    threads = 0 if local else 1
    build(pipeline, options, lake, draft, shards, how=how, threads=threads, spread=not local)
    total = sum(shard.rows for shard in shards)
    run_to_end(pipeline, beam_flags, run_id=options.run_id, total=total, progress=progress)
