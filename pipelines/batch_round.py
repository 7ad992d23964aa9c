"""One round of ``pipelines.batch``: files or rows to generate in, one commit out.

    files or rows to generate
      └─ shards ─ Reshuffle ─ Stage (read, check, split, write, sum: one fused step) ─ Commit

Only descriptions cross an edge: shards on the way in, staged files and partial sums on the way out.
A run in this process does without the Reshuffle, which has nothing to share out there.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

# Beam takes a second to import, and the rest half of one: only once the flags are right.
if TYPE_CHECKING:
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    from celes_beam.commands.batch_options import BatchOptions
    from celes_beam.commands.summary import RunSummary
    from celes_beam.stores.inputs.files import InputFile
    from celes_beam.stores.lake.lake import Lake
    from celes_beam.stores.lake.manifest import Manifest
    from celes_beam.stores.lake.staging import Trouble
    from celes_beam.stores.warehouse.warehouse import Warehouse

_LOGGER = logging.getLogger(__name__)


def build(
    pipeline: beam.Pipeline,
    options: BatchOptions,
    lake: Lake,
    draft: Manifest,
    files: Sequence[InputFile] = (),
    *,
    threads: int = 0,
    spread: bool = True,
    only_attempt: bool = False,
) -> beam.PCollection[Manifest]:
    """Build the pipeline that stages and commits ``draft``; yields the manifest as decided.

    None when ``options.sets_aside`` and a file made another attempt necessary, which is an error of
    the ``only_attempt``.
    ``files`` are what is to be read (none when sales are generated). ``threads`` work on the
    shards of one bundle; 0 is one a core. ``spread`` shares the shards out to several workers.
    """
    import apache_beam as beam  # noqa: PLC0415

    from celes_beam.stores.inputs.sources import GeneratedSales, SalesFiles  # noqa: PLC0415
    from celes_beam.transforms.commit import CommitLake  # noqa: PLC0415
    from celes_beam.transforms.stage import StageSales  # noqa: PLC0415

    area = lake.storage.staging_area(draft.staging)
    source: GeneratedSales | SalesFiles
    if options.generates:
        source = GeneratedSales(options.config, options.rules)
        shards = pipeline | "Shards" >> beam.Create(source.shards(), reshuffle=False)
    else:
        source = SalesFiles(options.how, options.rules, sets_aside=options.sets_aside)
        groups = pipeline | "Files" >> beam.Create(source.groups(files), reshuffle=False)
        if spread:
            # To find out where a large text can be split, all of it may have to be read.
            groups = groups | "Spread files" >> beam.Reshuffle()
        shards = groups | "Plan" >> beam.FlatMap(source.split)
    if spread:
        shards = shards | "Reshuffle" >> beam.Reshuffle()
    return (
        shards
        | "Stage" >> StageSales(source, area, options.layout, options.run_id, threads)
        | "Commit"
        >> CommitLake(
            lake.storage.root,
            draft,
            options.limit,
            options.reprocess,
            only_attempt=only_attempt,
            spread=spread,
        )
    )


def run_round(
    options: BatchOptions,
    lake: Lake,
    files: Sequence[InputFile],
    beam_flags: PipelineOptions,
    *,
    progress: str,
) -> RunSummary:
    """Take ``files`` (or generated sales) into the lake in one commit, ``options.run_id``.

    Those that the ledger of an append knows are left out. With ``options.sets_aside`` a file that
    is no sales is taken in as refused, and one that changes meanwhile is left out. Raises what
    ``Lake.prepare`` and the pipeline raise; nothing is committed then, and nothing staged is left.
    With ``options.warehouse`` the table is made ready before, and loaded after; it may fail, too,
    once the rows are committed.
    """
    decided, warehouse = prepare(options, lake)
    summary = _take_in(options, lake, decided, files, beam_flags, progress=progress)
    return summary if warehouse is None else dataclasses.replace(summary, loaded=warehouse.load())


def prepare(options: BatchOptions, lake: Lake) -> tuple[Manifest | None, Warehouse | None]:
    """Make lake and table ready for a run; returns its commit if it was decided before.

    Raises what ``Lake.prepare`` and ``Warehouse.prepare`` raise.
    """
    from celes_beam.stores.warehouse.warehouse import Warehouse  # noqa: PLC0415

    decided = lake.prepare(
        run_id=options.run_id,
        if_exists=options.if_exists,
        partition_by=options.layout.partition_by,
    )
    if options.warehouse is None:
        return decided, None
    warehouse = Warehouse(options.warehouse, lake)
    warehouse.prepare(
        if_exists=options.if_exists,
        partition_by=options.layout.partition_by,
        run_id=options.run_id,
    )
    return decided, warehouse


def draft_of(options: BatchOptions, files: Sequence[InputFile]) -> Manifest:
    """The manifest of a run as far as it is known before any row is read, without staging."""
    from celes_beam.stores.lake.ingest import draft_manifest  # noqa: PLC0415
    from celes_beam.stores.lake.manifest import Generated  # noqa: PLC0415

    config = options.config
    return draft_manifest(
        run_id=options.run_id,
        if_exists=options.if_exists,
        staging="",
        partition_by=options.layout.partition_by,
        rules=options.rules,
        inputs=files,
        generated=Generated(seed=config.seed, rows=config.rows) if options.generates else None,
    )


def unread(options: BatchOptions, lake: Lake, files: Sequence[InputFile]) -> Sequence[InputFile]:
    """The files that the ledger of an append does not know; all of them for other runs."""
    if options.if_exists != "append" or options.reprocess:
        return files
    return lake.unread(files)


def _take_in(
    options: BatchOptions,
    lake: Lake,
    decided: Manifest | None,
    files: Sequence[InputFile],
    beam_flags: PipelineOptions,
    *,
    progress: str,
) -> RunSummary:
    """Commit a run that ``Lake.prepare`` has found undecided."""
    from celes_beam.commands.summary import RunSummary  # noqa: PLC0415
    from celes_beam.stores.lake.set_aside import without_troubles  # noqa: PLC0415

    if decided is not None:
        return RunSummary(decided, options.output, 0.0, "already_committed")
    files = unread(options, lake, files)
    first = draft = draft_of(options, files)
    if options.inputs and not files:
        return RunSummary(draft, options.output, 0.0, "no_new_files")
    started = time.perf_counter()
    while decided is None:
        if options.inputs and not draft.inputs:
            _report(draft, _paths(first))
            return RunSummary(draft, options.output, 0.0, "no_new_files", _paths(first))
        wanted = {i.path for i in draft.inputs if i.refused is None}
        left = [f for f in files if f.path in wanted]
        decided, troubles = _attempt(options, lake, draft, left, beam_flags, progress=progress)
        draft = without_troubles(draft, troubles)
    skipped = tuple(sorted({*_paths(first)} - {*_paths(decided)}))
    seconds = time.perf_counter() - started
    _report(decided, skipped)
    return RunSummary(decided, options.output, seconds, "committed", skipped)


def _report(manifest: Manifest, skipped: Sequence[str]) -> None:
    for refused in manifest.refused_inputs:
        _LOGGER.warning("set aside: %s", refused.refused)
    for path in skipped:
        _LOGGER.warning(
            "left for the next run: %s changed, went or was closed to us while it was read", path
        )


def _paths(manifest: Manifest) -> tuple[str, ...]:
    return tuple(i.path for i in manifest.inputs)


def _attempt(
    options: BatchOptions,
    lake: Lake,
    draft: Manifest,
    files: Sequence[InputFile],
    beam_flags: PipelineOptions,
    *,
    progress: str,
) -> tuple[Manifest | None, tuple[Trouble, ...]]:
    """Stage and commit a draft by one pipeline; what was staged is gone when that fails.

    Returns the commit, or the troubles without which to try again.
    """
    import msgspec  # noqa: PLC0415

    from celes_beam.errors import IntegrityError  # noqa: PLC0415
    from celes_beam.stores.lake.attempt import give_up  # noqa: PLC0415
    from celes_beam.stores.lake.set_aside import commit_settled, noted_troubles  # noqa: PLC0415
    from celes_beam.stores.lake.staging import Staged  # noqa: PLC0415
    from celes_beam.transforms.options import is_local, new_pipeline, run_to_end  # noqa: PLC0415

    pipeline = new_pipeline(beam_flags)
    draft = msgspec.structs.replace(draft, staging=lake.staging(options.run_id))
    total = options.config.rows if options.generates else sum(f.size for f in files)
    try:
        local = is_local(beam_flags)
        if draft.inputs and not files:
            # All are refused: there is nothing left to read.
            commit_settled(lake, draft, Staged(), options.limit, reprocess=options.reprocess)
        else:
            threads = 0 if local else 1
            build(pipeline, options, lake, draft, files, threads=threads, spread=not local)
            run_to_end(pipeline, beam_flags, run_id=options.run_id, total=total, progress=progress)
    except BaseException as error:
        give_up(lake, options.run_id, draft.staging, error)
        raise
    decided = lake.find(options.run_id)
    if decided is None:
        troubles = noted_troubles(lake, draft)
        if troubles:
            lake.discard(draft.staging)
            return None, troubles
        raise IntegrityError(
            f"the pipeline ended, but run {options.run_id} is not among the commits of "
            f"{options.output}: look at the log of its workers, and run again with this --run_id"
        )
    return decided, ()
