"""What a lake knows of the tables that its rows are loaded into: registrations and marks.

    _loads/<table>/table.json                 the table is to hold the rows of this lake
    _loads/<table>/start/<run_id>.done        the rows of a run are in the table
    _loads/<table>/after-<run_id>/….done      likewise, since an overwrite replaced all rows there
    _loads/<table>/rejected/<run_id>.done     its rejected rows are in their table

An overwrite that is decided after the registration begins a new *round* of loads: what was loaded
in the round before is gone from the table, so a mark counts in its own round alone.

Rows that were streamed into a table and then committed here have no mark: their commit says so.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import msgspec

from celes_beam.errors import IntegrityError
from celes_beam.stores.lake.commit import now
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.manifest import Manifest, retired_paths
from celes_beam.stores.lake.storage import Storage

LOADS = "_loads"
FIRST_ROUND = "start"
REJECTED_ROUND = "rejected"
_REGISTRATION = "table.json"
_MARK = ".done"


class Registration(msgspec.Struct, frozen=True, kw_only=True):
    """That a table holds the rows of a lake, since when, and which runs were in the lake before.

    ``id`` is random and goes into the ids of jobs: a table registered anew is loaded anew.
    """

    table: str
    id: str
    registered_at: str
    runs_before: tuple[str, ...] = ()


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """That the rows of a run have been loaded, and by which jobs."""

    run_id: str
    rows: int
    jobs: tuple[str, ...]
    loaded_at: str


@dataclass(frozen=True)
class TableLoads:
    """The loads of one lake into one table; ``key`` is the table's name as a folder's name."""

    storage: Storage
    key: str

    def registration(self) -> Registration | None:
        """The registration, or None. Raises ``IntegrityError`` when it cannot be read."""
        name = f"{LOADS}/{self.key}/{_REGISTRATION}"
        if not self.storage.exists(name):
            return None
        return _decode(self.storage.read(name), name)

    def register(self, table: str, runs_before: Sequence[str]) -> Registration:
        """Register the table, unless it is registered already; returns what holds."""
        mine = Registration(
            table=table,
            id=uuid.uuid4().hex,
            registered_at=now(),
            runs_before=tuple(runs_before),
        )
        name = f"{LOADS}/{self.key}/{_REGISTRATION}"
        self.storage.put_if_absent(name, _encode(mine))
        return _decode(self.storage.read(name), name)

    def marked(self, round_: str) -> frozenset[str]:
        """The runs that were loaded in a round."""
        folder = f"{LOADS}/{self.key}/{round_}"
        names = (f.name.rsplit("/", 1)[1] for f in self.storage.list(folder, recursive=False))
        return frozenset(
            n.removesuffix(_MARK) for n in names if n.endswith(_MARK) and not n.startswith(".")
        )

    def mark(self, round_: str, mark: Mark) -> None:
        """Note that a run has been loaded in a round."""
        self.storage.put_if_absent(
            f"{LOADS}/{self.key}/{round_}/{mark.run_id}{_MARK}", _encode(mark)
        )


def rounds(manifests: Sequence[Manifest], registration: Registration) -> list[str]:
    """The rounds of loads so far, the last one being that of now."""
    before = frozenset(registration.runs_before)
    return [
        FIRST_ROUND,
        *(round_after(m.run_id) for m in manifests if begins_round(m) and m.run_id not in before),
    ]


def round_after(run_id: str) -> str:
    """The round that an overwrite begins."""
    return f"after-{run_id}"


def begins_round(manifest: Manifest) -> bool:
    """Whether loading this commit replaces all rows of a table."""
    return manifest.kind == "overwrite" and bool(manifest.files)


def streamed_runs(
    manifests: Sequence[Manifest], registration: Registration, key: str
) -> frozenset[str]:
    """The runs whose rows were streamed into a table and are there, unless it is to be replaced.

    Those decided before the overwrite that began the round are not: it replaced all rows.
    """
    last = rounds(manifests, registration)[-1]
    since = next((n for n, m in enumerate(manifests) if round_after(m.run_id) == last), -1)
    return frozenset(m.run_id for m in manifests[since + 1 :] if key in m.streamed_to)


def loaded_runs(
    manifests: Sequence[Manifest],
    registration: Registration,
    marked: Collection[str],
    streamed: Collection[str] = (),
) -> frozenset[str]:
    """The runs whose live rows are in a table: those marked or streamed, and what merges such.

    ``manifests`` are in the order of ``Commits``. Raises ``IntegrityError`` for a compaction of
    files of which some were loaded and others not.
    """
    maker = {f.path: m.run_id for m in manifests for f in m.files}
    retired = retired_paths(manifests)
    # What was merged before the registration is loaded as it lies, and has a mark of its own,
    # unless it was streamed.
    before = frozenset(registration.runs_before)
    loaded, arrived = {*marked, *streamed}, set(streamed)
    for manifest in manifests:
        if manifest.kind != "compact" or manifest.run_id in loaded:
            continue
        made_by = {maker[path] for path in manifest.retired if path in maker}
        there = made_by & (arrived if manifest.run_id in before else loaded)
        if made_by and there == made_by:
            loaded.add(manifest.run_id)
            if there <= arrived:
                arrived.add(manifest.run_id)
        elif there and any(f.path not in retired for f in manifest.files):
            raise IntegrityError(
                f"compaction {manifest.run_id} merged files of {min(there)}, which was loaded, "
                f"with files of {min(made_by - there)}, which was not: empty the table, delete "
                f"its folder in {LOADS}, and load the lake again"
            )
    return frozenset(loaded)


def unloaded_paths(lake: Lake) -> frozenset[str]:
    """Files that wait to be loaded into some table, and must not be merged with others before.

    A table that rows were streamed into counts before it is registered too: what it has and what
    it lacks could not be told apart once they were merged.
    """
    storage = lake.storage
    manifests = lake.commits().manifests
    keys = {f.name.split("/")[1] for f in storage.list(LOADS) if f.name.endswith(_REGISTRATION)}
    keys.update(key for m in manifests for key in m.streamed_to)
    waiting: set[str] = set()
    for key in keys:
        loads = TableLoads(storage, key)
        registration = loads.registration() or Registration(table=key, id="", registered_at="")
        marked = loads.marked(rounds(manifests, registration)[-1])
        streamed = streamed_runs(manifests, registration, key)
        loaded = loaded_runs(manifests, registration, marked, streamed)
        waiting |= {f.path for m in manifests if m.run_id not in loaded for f in m.files}
    return frozenset(waiting - retired_paths(manifests))


def _encode(content: Registration | Mark) -> bytes:
    return msgspec.json.format(msgspec.json.encode(content), indent=1)


def _decode(data: bytes, name: str) -> Registration:
    try:
        return msgspec.json.decode(data, type=Registration)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise IntegrityError(
            f"{name} is not a registration of this version: {error}; delete its folder when the "
            "table is empty"
        ) from error
