"""One round of ``pipelines.batch`` as a job of Dataflow: started, and left to itself.

    as batch_round.py ─ Commit ─ End (tell, load BigQuery)

What a launcher elsewhere does after the pipeline is its last step here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pipelines.batch_round import build, draft_of, prepare, unread

# Beam takes a second to import, and the rest half of one: only once the flags are right.
if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions

    from celes_beam.commands.batch_options import BatchOptions
    from celes_beam.commands.launched import Launched
    from celes_beam.commands.summary import RunSummary, Status
    from celes_beam.stores.inputs.files import InputFile
    from celes_beam.stores.lake.lake import Lake


def launch_round(
    options: BatchOptions, lake: Lake, files: Sequence[InputFile], beam_flags: PipelineOptions
) -> RunSummary | Launched:
    """Start the job that takes ``files`` (or generated sales) into the lake in one commit.

    There is no job, but a summary, when there is nothing to do; a template has to have one all the
    same. Raises ``ConfigError`` for what would break the job, and what ``prepare`` raises.
    """
    import apache_beam as beam  # noqa: PLC0415
    import msgspec  # noqa: PLC0415

    from celes_beam.commands.launched import Launched  # noqa: PLC0415
    from celes_beam.commands.summary import RunSummary  # noqa: PLC0415
    from celes_beam.transforms.dataflow import is_flex_launch, launch  # noqa: PLC0415
    from celes_beam.transforms.load import EndRun  # noqa: PLC0415
    from celes_beam.transforms.options import new_pipeline  # noqa: PLC0415

    decided, _ = prepare(options, lake)
    files = unread(options, lake, files) if decided is None else ()
    draft = decided or draft_of(options, files)
    pipeline = new_pipeline(beam_flags)
    if decided is not None or (options.inputs and not files):
        status: Status = "no_new_files" if decided is None else "already_committed"
        if options.warehouse is None and not is_flex_launch(beam_flags):
            return RunSummary(draft, options.output, 0.0, status)
        told = f"run {options.run_id}: nothing to take in ({status})"
        ended: Any = pipeline | "Nothing new" >> beam.Create([told], reshuffle=False)
    else:
        draft = msgspec.structs.replace(draft, staging=lake.staging(options.run_id))
        ended = build(pipeline, options, lake, draft, files, threads=1, only_attempt=True)
    _ = ended | "End" >> EndRun(lake.storage.root, options.warehouse)
    try:
        job = launch(pipeline)
    except BaseException:
        if draft.staging and decided is None:
            lake.discard(draft.staging)
        raise
    return Launched(options.run_id, job, _reads(options, files))


def _reads(options: BatchOptions, files: Sequence[InputFile]) -> str:
    if options.generates:
        return f"{options.config.rows:,} generated rows"
    return f"{len(files):,} files, {sum(f.size for f in files):,} bytes"
