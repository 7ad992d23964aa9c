"""From staged files to a commit: reconcile, hold to the limit of rejects, fill the manifest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from celes_beam.contract import RULES_VERSION, SCHEMA, Rules
from celes_beam.errors import TooManyRejectedError
from celes_beam.sales.aggregate import Sums
from celes_beam.stores.inputs.files import InputFile
from celes_beam.stores.lake.commit import REJECTED
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.manifest import (
    CategoryTotal,
    Generated,
    InputRecord,
    Kind,
    Manifest,
    RegionMean,
    RejectedExample,
)
from celes_beam.stores.lake.rejects import Rejections
from celes_beam.stores.lake.staging import Staged

_KINDS: dict[str, Kind] = {"error": "create", "append": "append", "overwrite": "overwrite"}


@dataclass(frozen=True)
class RejectedLimit:
    """Most rows a run may reject: a number, or a share (0 to 1) of the rows read."""

    rows: int | None = None
    share: float | None = None

    def check(self, rows_read: int, rejections: Rejections) -> None:
        """Raise ``TooManyRejectedError``, saying how many, why, and where the first ones stand."""
        rejected = rejections.rows
        too_many = (self.rows is not None and rejected > self.rows) or (
            self.share is not None and rejected > self.share * rows_read
        )
        if not too_many:
            return
        allowed = f"{self.rows:,}" if self.rows is not None else f"{(self.share or 0) * 100:g}%"
        reasons = ", ".join(f"{n:,} {reason}" for reason, n in rejections.by_reason.items())
        first = "; ".join(describe_example(e) for e in rejections.examples[:3])
        raise TooManyRejectedError(
            f"{rejected:,} of {rows_read:,} rows ({rejected / rows_read:.2%}) were rejected "
            f"({reasons}), more than --max_rejected {allowed}; nothing was committed. {first}. "
            "Mend the input or allow more"
        )


def describe_example(example: RejectedExample) -> str:
    """Say in a few words what is wrong with a rejected row and where it stands."""
    where = f"{example.source} at {example.position:,}"
    if example.column is None and example.value is not None:
        # A file that was refused as a whole: why says where.
        return example.value
    if example.column is None:
        return f"{where}: {example.raw[:80]!r} is {example.reason}"
    value = "nothing" if example.value is None else repr(example.value[:80])
    return f"{where}: {example.column} is {example.reason}: {value}"


def draft_manifest(
    *,
    run_id: str,
    if_exists: str,
    staging: str,
    partition_by: tuple[str, ...],
    rules: Rules,
    inputs: Iterable[InputFile] = (),
    generated: Generated | None = None,
) -> Manifest:
    """Begin the manifest of a run: everything that is known before a row is read."""
    return Manifest(
        run_id=run_id,
        kind=_KINDS[if_exists],
        started_at=rules.started.isoformat(),
        staging=staging,
        partition_by=partition_by,
        inputs=tuple(InputRecord(path=f.path, size=f.size, version=f.version) for f in inputs),
        generated=generated,
        schema_hash=schema_hash(),
        rules_version=RULES_VERSION,
    )


def commit_staged(
    lake: Lake,
    draft: Manifest,
    staged: Staged,
    *,
    limit: RejectedLimit,
    reprocess: bool = False,
    publish: bool = True,
) -> Manifest:
    """Commit what an attempt staged, once: asked again, it returns the same commit.

    Without ``publish`` it is decided, and left to the caller to publish. Raises ``IntegrityError``
    when rows do not reconcile, ``TooManyRejectedError`` past the limit, and what ``Lake.commit``
    raises. Nothing is visible then.
    """
    staged.reconcile()
    limit.check(staged.rows_read, staged.rejections)
    elapsed = datetime.now(UTC) - datetime.fromisoformat(draft.started_at)
    whole = staged.sums.whole
    of_source = staged.by_source
    manifest = msgspec.structs.replace(
        draft,
        inputs=tuple(_counted(i, of_source.get(i.path, (0, 0))) for i in draft.inputs),
        files=staged.files,
        rejected_files=tuple(
            msgspec.structs.replace(f, path=f"{REJECTED}/{draft.run_id}/{f.path}")
            for f in staged.rejected_files
        ),
        rows_read=staged.rows_read,
        rows_accepted=whole.rows,
        rows_rejected=staged.rejections.rows,
        rejected_by_reason=dict(staged.rejections.by_reason),
        rejected_examples=staged.rejections.examples,
        by_category=category_totals(staged.sums),
        by_region=region_means(staged.sums),
        total=str(whole.total),
        seconds=round(elapsed.total_seconds(), 3),
    )
    return (lake.commit if publish else lake.decide)(manifest, reprocess=reprocess)


def _counted(record: InputRecord, rows: tuple[int, int]) -> InputRecord:
    read, accepted = rows
    return msgspec.structs.replace(record, rows_read=read, rows_accepted=accepted)


def category_totals(sums: Sums) -> tuple[CategoryTotal, ...]:
    """Rows and total of each category, the largest total first."""
    ordered = sorted(sums.by_category.items(), key=lambda item: (-item[1].cents, item[0]))
    return tuple(
        CategoryTotal(categoria_de_producto=name, rows=s.rows, total=str(s.total))
        for name, s in ordered
    )


def region_means(sums: Sums) -> tuple[RegionMean, ...]:
    """Rows, total and mean of each region, by name."""
    return tuple(
        RegionMean(region_de_venta=name, rows=s.rows, total=str(s.total), mean=str(s.mean))
        for name, s in sorted(sums.by_region.items())
    )


def schema_hash() -> str:
    """A short fingerprint of the contract's columns and types."""
    return hashlib.sha256(str(SCHEMA).encode()).hexdigest()[:16]
