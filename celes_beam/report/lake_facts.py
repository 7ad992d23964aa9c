"""What a report says of the lake itself: its commits, what was read and rejected, its files."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from celes_beam.errors import IntegrityError
from celes_beam.stores.lake.lake_input import LakeInput
from celes_beam.stores.lake.manifest import (
    STREAM_INPUT,
    Kind,
    Manifest,
    RejectedExample,
    retired_paths,
)
from celes_beam.stores.lake.rejects import Rejections, merge_rejections

MOST_COMMITS = 100
"""A page lists this many commits, the newest; those before are one line."""


class CommitFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One commit; ``live`` of its ``files`` count today.

    Its rows come from ``inputs`` files, of which ``first_input`` is named, or batches of a stream;
    or were generated from ``seed``; or are the rejected rows of ``replayed_from``, read again.
    """

    run_id: str
    kind: Kind
    decided_at: str
    seconds: float
    inputs: int
    first_input: str | None
    streamed: bool
    seed: int | None
    replayed_from: str | None
    rows_read: int
    rows_accepted: int
    rows_rejected: int
    files: int
    live: int
    bytes: int
    replaced: bool


class ReasonFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Rows rejected for one reason, and the first of them."""

    reason: str
    rows: int
    examples: tuple[RejectedExample, ...]


class LakeFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A lake, or a plain folder (``is_lake`` is false, and there are only files).

    Rows read, accepted and rejected are those of the commits that count: which no overwrite has
    replaced. Of the rows read, ``rows_replayed`` had been rejected, and read, once before.
    """

    root: str
    is_lake: bool
    files: int
    bytes: int
    partition_by: tuple[str, ...]
    partitions: int
    commits: tuple[CommitFacts, ...] = ()
    earlier_commits: int = 0
    replaced_commits: int = 0
    rows_read: int = 0
    rows_accepted: int = 0
    rows_rejected: int = 0
    rows_replayed: int = 0
    rejected: tuple[ReasonFacts, ...] = ()


def describe_lake(found: LakeInput, most_commits: int = MOST_COMMITS) -> LakeFacts:
    """Describe what was found to read.

    Raises ``IntegrityError`` when the commits do not account for every row of the lake.
    """
    partitions = {f.partition for f in found.files}
    names = tuple(dict.fromkeys(name for p in partitions for name, _ in p))
    facts = LakeFacts(
        root=found.root,
        is_lake=bool(found.runs),
        files=len(found.files),
        bytes=found.bytes,
        partition_by=names,
        partitions=len(partitions) if names else 0,
    )
    if not found.runs:
        return facts
    retired = retired_paths(found.runs)
    gone = {run_id for run in found.runs for run_id in run.replaces}
    counted = [run for run in found.runs if run.run_id not in gone]
    facts = msgspec.structs.replace(
        facts,
        commits=tuple(_commit(r, retired, gone) for r in reversed(found.runs[-most_commits:])),
        earlier_commits=max(len(found.runs) - most_commits, 0),
        replaced_commits=len(found.runs) - len(counted),
        rows_read=sum(run.rows_read for run in counted),
        rows_accepted=sum(run.rows_accepted for run in counted),
        rows_rejected=sum(run.rows_rejected for run in counted),
        rows_replayed=sum(run.replayed.rows for run in counted if run.replayed),
        rejected=_rejected(counted),
    )
    if facts.rows_read != facts.rows_accepted + facts.rows_rejected or (
        facts.rows_accepted != found.rows
    ):
        raise IntegrityError(
            f"{found.root}: its commits read {facts.rows_read:,} rows, accepted "
            f"{facts.rows_accepted:,} and rejected {facts.rows_rejected:,}, and its files hold "
            f"{found.rows:,}: celes-beam lake verify {found.root} tells more"
        )
    return facts


def _commit(run: Manifest, retired: set[str], gone: set[str]) -> CommitFacts:
    return CommitFacts(
        run_id=run.run_id,
        kind=run.kind,
        decided_at=run.decided_at,
        seconds=run.seconds,
        inputs=len(run.inputs),
        first_input=run.inputs[0].path if run.inputs else None,
        streamed=bool(run.inputs) and run.inputs[0].path.startswith(STREAM_INPUT),
        seed=run.generated.seed if run.generated else None,
        replayed_from=run.replayed.source if run.replayed else None,
        rows_read=run.rows_read,
        rows_accepted=run.rows_accepted,
        rows_rejected=run.rows_rejected,
        files=len(run.files),
        live=sum(f.path not in retired for f in run.files),
        bytes=run.bytes,
        replaced=run.run_id in gone,
    )


def _rejected(runs: Sequence[Manifest]) -> tuple[ReasonFacts, ...]:
    merged = merge_rejections(Rejections(r.rejected_by_reason, r.rejected_examples) for r in runs)
    return tuple(
        ReasonFacts(
            reason=reason,
            rows=rows,
            examples=tuple(e for e in merged.examples if e.reason == reason),
        )
        for reason, rows in merged.by_reason.items()
    )
