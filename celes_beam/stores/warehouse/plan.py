"""What is to be loaded: for each run of a lake that a table lacks, the jobs that load its files."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from celes_beam.contract import COLUMN_NAMES, hive_escape
from celes_beam.errors import IntegrityError
from celes_beam.stores.cloud.clients import GCS_SCHEME
from celes_beam.stores.lake.loads import (
    FIRST_ROUND,
    LOADS,
    REJECTED_ROUND,
    Registration,
    loaded_runs,
    round_after,
    rounds,
    streamed_runs,
)
from celes_beam.stores.lake.manifest import DataFile, Manifest, RejectedFile, retired_paths
from celes_beam.stores.warehouse.shape import TableShape

FILES_PER_JOB = 10_000
BYTES_PER_JOB = 10 * 2**40
"""Google takes 15 TB a job."""
BYTES_PER_UPLOAD = 256 * 2**20

How = Literal["direct", "rewritten", "uploaded"]
"""From the files where they lie; from copies with all columns; or from copies as they are."""


@dataclass(frozen=True)
class Chunk:
    """Files of one run that one job loads; ``key`` is the same whenever the run is planned."""

    key: str
    run_id: str
    how: How
    files: tuple[DataFile | RejectedFile, ...]
    is_rejected: bool = False
    truncates: bool = False

    @property
    def rows(self) -> int:
        """Rows of the files."""
        return sum(f.rows for f in self.files)

    @property
    def bytes(self) -> int:
        """Bytes of the files."""
        return sum(f.bytes for f in self.files)


@dataclass(frozen=True)
class Step:
    """One run to load, wholly, before it is marked in ``round_``."""

    run_id: str
    round_: str
    chunks: tuple[Chunk, ...]

    @property
    def rows(self) -> int:
        """Rows of all chunks."""
        return sum(c.rows for c in self.chunks)


@dataclass(frozen=True)
class Plan:
    """What is to be loaded, in this order, and the rows that are there already."""

    round_: str
    steps: tuple[Step, ...]
    rows_there: int
    runs_there: int
    before_truncation: tuple[str, ...] = ()
    """Keys of jobs that may not start any more once the table is truncated."""
    marks_at_end: bool = False
    """Whether runs are marked once all are loaded: of those that were streamed nothing else tells
    that the rows were replaced meanwhile, and are to be loaded."""

    @property
    def truncates(self) -> bool:
        """Whether the rows of the table are replaced."""
        return any(c.truncates for s in self.steps for c in s.chunks)


@dataclass(frozen=True)
class Loading:
    """How files of a lake are loaded into one table.

    ``root`` is that of the lake, ``table_key`` the table's ``TableName.key``. ``emulated`` is
    whether BigQuery is the stand-in, which goes by the position of a column, where Google goes by
    its name.
    """

    root: str
    table: str
    table_key: str
    registration_id: str
    shape: TableShape
    emulated: bool

    def how(self, file: DataFile) -> How:
        """How a file of sales is loaded.

        Directly when it can be without any doubt: the modes of file and table agree, and what
        stands in the path is text that is not escaped. Google does not say how it reads "%2F".
        """
        keys = tuple(file.partition)
        texts = [k for k in keys if k in COLUMN_NAMES]
        plain = all(hive_escape(value) == value for value in file.partition.values())
        same_modes = all(self.shape.is_nullable(c) == (c in texts) for c in COLUMN_NAMES)
        # Without partition options a path is nothing but a path to Google; the stand-in takes
        # what is in it for columns all the same.
        derived = len(texts) < len(keys) and (self.emulated or bool(texts))
        in_place = not self.emulated or (
            self.shape.holds_contract_only
            and [c for c in COLUMN_NAMES if c not in keys] + list(keys) == list(COLUMN_NAMES)
        )
        address = not set("*#?") & set(self.root)
        is_cloud = self.root.startswith(GCS_SCHEME)
        fits = plain and same_modes and not derived and in_place and address
        return "direct" if is_cloud and fits else "rewritten"

    def chunks(self, manifest: Manifest, round_: str, live: Collection[str]) -> tuple[Chunk, ...]:
        """The jobs for the live files of a run. Files are shared out as if all were live."""
        groups = _groups(manifest.files, [self.how(f) for f in manifest.files])
        chunks = []
        for number, (how, files) in enumerate(groups):
            left = tuple(f for f in files if f.path in live)
            if left:
                key = self.key(round_, manifest.run_id, number)
                chunks.append(Chunk(key, manifest.run_id, how, left))
        return tuple(chunks)

    def rejected_chunks(self, manifest: Manifest) -> tuple[Chunk, ...]:
        """The jobs for the rejected rows of a run."""
        files = manifest.rejected_files
        is_cloud = self.root.startswith(GCS_SCHEME) and not set("*#?") & set(self.root)
        how: How = "direct" if is_cloud else "uploaded"
        groups = _groups(files, [how] * len(files))
        return tuple(
            Chunk(self.key(REJECTED_ROUND, manifest.run_id, n), manifest.run_id, how, group, True)
            for n, (_, group) in enumerate(groups)
        )

    def key(self, round_: str, run_id: str, number: int) -> str:
        """What the id of a job is made of."""
        parts = "\n".join((self.registration_id, self.table, round_, run_id, str(number)))
        return hashlib.sha256(parts.encode()).hexdigest()[:40]


def plan_loads(
    manifests: Sequence[Manifest],
    registration: Registration,
    marked: dict[str, frozenset[str]],
    loading: Loading,
) -> Plan:
    """Plan what a table lacks. ``marked`` are the runs marked in each round.

    Raises ``IntegrityError`` when a compaction merged what was loaded with what was not.
    """
    all_rounds = rounds(manifests, registration)
    round_ = all_rounds[-1]
    retired = retired_paths(manifests)
    live = {f.path for m in manifests for f in m.files} - retired
    base = next((m for m in manifests if round_after(m.run_id) == round_), None)
    truncates = base is not None and base.run_id not in marked[round_]
    streamed = streamed_runs(manifests, registration, loading.table_key)
    # What was streamed until now is replaced as well, so it is loaded like the rest.
    counted = frozenset[str]() if truncates else streamed
    loaded = loaded_runs(manifests, registration, marked[round_], counted)
    if truncates and base is not None and not live.intersection(f.path for f in base.files):
        raise IntegrityError(
            f"files of overwrite {base.run_id} were merged before they were loaded into "
            f"{loading.table}: empty the table, delete its folder in {LOADS}, and load the lake "
            "again"
        )
    steps = []
    there = [m for m in manifests if m.run_id in loaded]
    # Whatever is live beside an overwrite was not there for it to replace, so it comes after it.
    ordered = sorted(manifests, key=lambda m: m is not base)
    for manifest in ordered:
        chunks = loading.chunks(manifest, round_, live)
        if manifest.run_id in loaded or not chunks:
            continue
        if truncates and manifest is base:
            chunks = (replace(chunks[0], truncates=True), *chunks[1:])
        steps.append(Step(manifest.run_id, round_, chunks))
    for manifest in manifests:
        arrived = loading.table_key in manifest.streamed_to
        if manifest.rejected_files and not (arrived or manifest.run_id in marked[REJECTED_ROUND]):
            rejected = loading.rejected_chunks(manifest)
            steps.append(Step(manifest.run_id, REJECTED_ROUND, rejected))
    return Plan(
        round_=round_,
        steps=tuple(steps),
        rows_there=sum(f.rows for m in there for f in m.files if f.path in live),
        runs_there=sum(any(f.path in live for f in m.files) for m in there),
        before_truncation=tuple(
            _unfinished(manifests, registration, marked, loading) if truncates else ()
        ),
        marks_at_end=truncates and bool(streamed),
    )


def _unfinished(
    manifests: Sequence[Manifest],
    registration: Registration,
    marked: dict[str, frozenset[str]],
    loading: Loading,
) -> Iterator[str]:
    """Keys of jobs of earlier rounds that some process may be about to start.

    Rounds before the last one that was begun in the table are over: the same was done for it.
    """
    before = frozenset(registration.runs_before)
    gone = retired_paths(m for m in manifests if m.run_id in before)
    bases = {round_after(m.run_id): m for m in manifests}
    earlier = rounds(manifests, registration)[:-1]
    begun = [r for r in earlier if r == FIRST_ROUND or bases[r].run_id in marked[r]]
    first = earlier.index(begun[-1])
    for number, round_ in enumerate(earlier):
        if round_ in bases:
            gone.update(bases[round_].retired)
        if number < first:
            continue
        # Of what was streamed there are jobs only until the round has begun.
        over = round_ == FIRST_ROUND or bases[round_].run_id in marked[round_]
        since = manifests.index(bases[round_]) if round_ in bases else -1
        streamed = {
            m.run_id for m in manifests[since + 1 :] if over and loading.table_key in m.streamed_to
        }
        # Whoever knew of an overwrite was in its round, not in one before it.
        later = set(earlier[number + 1 :]) | {rounds(manifests, registration)[-1]}
        for manifest in manifests:
            settled = manifest.run_id in marked[round_] or manifest.run_id in streamed
            if not settled and round_after(manifest.run_id) not in later:
                there = {f.path for f in manifest.files} - gone
                yield from (c.key for c in loading.chunks(manifest, round_, there))


def _groups(
    files: Sequence[DataFile | RejectedFile], hows: Sequence[How]
) -> Iterator[tuple[How, tuple[DataFile | RejectedFile, ...]]]:
    group: list[DataFile | RejectedFile] = []
    size = 0
    previous: How = "direct"
    for file, how in zip(files, hows, strict=True):
        most = {"direct": BYTES_PER_JOB, "rewritten": BYTES_PER_UPLOAD, "uploaded": 0}[how]
        full = len(group) == FILES_PER_JOB or size + file.bytes > most
        if group and (full or how != previous):
            yield previous, tuple(group)
            group, size = [], 0
        group.append(file)
        size += file.bytes
        previous = how
    if group:
        yield previous, tuple(group)
