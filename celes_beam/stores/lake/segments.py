"""Which runs may have decided since when: announcements, in segments that are closed one by one.

    _commits/segments/<n>/<run_id>    the run was about to decide while segment n was open
    _commits/index/<n>.closed         no announcement in segment n counts any more
    _commits/index/<n>.index          what the commits announced up to segment n say

Decisions are named after runs, in no order, so whoever looks for new ones would have to list all of
them. Instead each run, before it decides, *announces* itself in the open segment, the one after the
newest that is closed, and looks whether it still is the open one; if not, it announces itself
again. Who closes a segment lists it afterwards. So whoever goes on to decide was announced in a
segment that was not closed yet, and is in that listing; all others find it in a later segment.

Announcements stay, so an index that is lost or damaged costs time and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from celes_beam.stores.inputs.refused import LAKE_MARK
from celes_beam.stores.lake.staging_area import each
from celes_beam.stores.lake.storage import Storage

INDEXES = f"{LAKE_MARK}/index"
SEGMENTS = f"{LAKE_MARK}/segments"
KEPT = 3
"""So many of the newest indexes are kept: one may be damaged, or just being read."""
_NAME = re.compile(r"(\d{8,})\.(index|closed)")


@dataclass(frozen=True)
class Look:
    """What was closed at one moment, the last time when (seconds since 1970), and the indexes."""

    closed: int = 0
    closed_at: float = 0.0
    indexes: tuple[int, ...] = ()
    names: dict[str, int] = field(default_factory=dict)

    @property
    def open(self) -> int:
        """The segment in which runs announce themselves."""
        return self.closed + 1


class Segments:
    """The segments of one lake's commits. Methods raise ``StorageError``."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._open = 1

    def look(self) -> Look:
        """What is closed and indexed now; one listing of a few names."""
        closed, closed_at = 0, 0.0
        indexes, names = [], {}
        for file in self._storage.list(INDEXES, recursive=False):
            found = _NAME.fullmatch(file.name.removeprefix(f"{INDEXES}/"))
            if found is None:
                continue
            number = int(found[1])
            names[file.name] = number
            if number >= closed:
                closed, closed_at = number, file.modified
            if found[2] == "index":
                indexes.append(number)
        self._open = closed + 1
        return Look(closed, closed_at, tuple(sorted(indexes)), names)

    def announce(self, run_id: str) -> None:
        """Announce that a run is about to decide, in a segment that is open afterwards."""
        segment = 0
        while segment != self._open:
            segment = self._open
            self._storage.put_if_absent(f"{_folder(segment)}/{run_id}", b"")
            self.look()

    def announced(self, segments: Iterable[int]) -> list[tuple[int, str]]:
        """The runs announced in some segments, each with its segment."""
        return [
            found
            for some in each(self._announced, segments, at_once=self._storage.at_once)
            for found in some
        ]

    def close(self, segment: int) -> bool:
        """Close the open segment; False when another did."""
        return self._storage.put_if_absent(f"{INDEXES}/{segment:08d}.closed", b"")

    def forget_old(self, look: Look) -> None:
        """Delete indexes that newer ones replace, and what killed processes left of theirs."""
        newest = look.indexes[-KEPT:]
        old = [n for n, number in look.names.items() if len(newest) == KEPT and number < newest[0]]
        each(self._storage.delete, old, at_once=self._storage.at_once)
        self._storage.tidy(INDEXES)

    def _announced(self, segment: int) -> list[tuple[int, str]]:
        folder = _folder(segment)
        names = (
            f.name.removeprefix(f"{folder}/") for f in self._storage.list(folder, recursive=False)
        )
        return [(segment, name) for name in names if not name.startswith(".")]


def index_name(number: int) -> str:
    """The index of all that was announced up to a segment."""
    return f"{INDEXES}/{number:08d}.index"


def decision_name(run_id: str) -> str:
    """The decision of a run."""
    return f"{LAKE_MARK}/{run_id}.json"


def _folder(segment: int) -> str:
    return f"{SEGMENTS}/{segment:08d}"
