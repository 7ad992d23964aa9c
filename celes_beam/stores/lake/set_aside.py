"""Files that could not be read as what they should be: refused as a whole, or left for later.

A worker that may set files aside notes a ``Trouble`` and goes on. The commit step takes in the
other files, and the refused ones as one rejected row each, so that the ledger knows them. Only when
rows of a file were staged before its trouble showed nothing can be committed: what is to be left
out is noted in the staging folder then, and the launcher begins again without it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec
import numpy as np
import pyarrow as pa

from celes_beam.contract import Reason, Rules
from celes_beam.errors import InputChangedError
from celes_beam.sales.rejected import rejected_batch
from celes_beam.stores.lake.ingest import RejectedLimit, commit_staged
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.manifest import InputRecord, Manifest
from celes_beam.stores.lake.rejects import RejectsWriter, count_rejections, merge_rejections
from celes_beam.stores.lake.staging import Staged, Trouble, merge_staged

NOTE = ".set-aside.json"
_NOTED = msgspec.json.Decoder(tuple[Trouble, ...])


def commit_settled(
    lake: Lake,
    draft: Manifest,
    staged: Staged,
    limit: RejectedLimit,
    *,
    reprocess: bool = False,
    publish: bool = True,
) -> Manifest | None:
    """Commit what an attempt staged, without the files that could not be read.

    Refused ones, also those that the draft names as such, are taken in as one rejected row each;
    files that changed are left out of an append. ``None``, with a note for ``noted_troubles``,
    when it takes another attempt. ``reprocess`` and ``publish`` are those of ``commit_staged``.
    Raises ``InputChangedError`` when a file of a run of another kind changed, since no later run
    would read it, and what ``commit_staged`` raises.
    """
    settled = _settle(lake, draft, staged)
    if settled is None:
        return None
    return commit_staged(lake, *settled, limit=limit, reprocess=reprocess, publish=publish)


def _settle(lake: Lake, draft: Manifest, staged: Staged) -> tuple[Manifest, Staged] | None:
    named = any(i.refused is not None for i in draft.inputs)
    if not (staged.troubles or named) or lake.find(draft.run_id) is not None:
        return draft, staged
    troubles = _by_path(staged.troubles)
    changed = {t.path for t in troubles.values() if t.changed}
    if changed and draft.kind != "append":
        raise InputChangedError(next(t.why for t in troubles.values() if t.changed))
    inputs = without_troubles(draft, staged.troubles).inputs
    if any(path in staged.by_source for path in troubles) or (troubles and not inputs):
        note = msgspec.json.encode(tuple(troubles.values()))
        lake.storage.put_if_absent(f"{draft.staging}/{NOTE}", note)
        return None
    refused = [i for i in inputs if i.refused is not None]
    if refused:
        staged = merge_staged([staged, _stage_refused(lake, draft, refused)])
    return msgspec.structs.replace(draft, inputs=inputs), staged


def noted_troubles(lake: Lake, draft: Manifest) -> tuple[Trouble, ...]:
    """What the commit step of an attempt noted, without which to begin again; usually nothing."""
    name = f"{draft.staging}/{NOTE}"
    return _NOTED.decode(lake.storage.read(name)) if lake.storage.exists(name) else ()


def without_troubles(draft: Manifest, troubles: Iterable[Trouble]) -> Manifest:
    """The draft of the next attempt: refused inputs named as such, changed ones left out."""
    by_path = _by_path(troubles)
    changed = {t.path for t in by_path.values() if t.changed}
    inputs = tuple(_settled(i, by_path) for i in draft.inputs if i.path not in changed)
    return msgspec.structs.replace(draft, inputs=inputs)


def _by_path(troubles: Iterable[Trouble]) -> dict[str, Trouble]:
    # Of a file that changed, any other trouble may have come of it.
    return {t.path: t for t in sorted(troubles, key=lambda t: t.changed)}


def _settled(record: InputRecord, troubles: dict[str, Trouble]) -> InputRecord:
    trouble = troubles.get(record.path)
    return record if trouble is None else msgspec.structs.replace(record, refused=trouble.why)


def _stage_refused(lake: Lake, draft: Manifest, refused: Sequence[InputRecord]) -> Staged:
    rules = Rules(started=datetime.fromisoformat(draft.started_at))
    writer = RejectsWriter(lake.storage.staging_area(draft.staging))
    batches = [_refused_row(record, rules) for record in refused]
    try:
        for batch in batches:
            writer.write(batch)
        files = writer.close()
    except BaseException:
        writer.abandon()
        raise
    return Staged(
        rows_read=len(refused),
        rejected_files=tuple(files),
        rejections=merge_rejections(map(count_rejections, batches)),
        by_source={record.path: (1, 0) for record in refused},
    )


def _refused_row(record: InputRecord, rules: Rules) -> pa.RecordBatch:
    return rejected_batch(
        record.path,
        np.zeros(1, np.int64),
        pa.array([[str(Reason.MALFORMED)]]),
        pa.nulls(1, pa.string()),
        pa.array([record.refused], pa.string()),
        pa.array([b""], pa.binary()),
        rules,
    )
