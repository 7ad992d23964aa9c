"""The indexes of a lake's commits: the newest that is sound, and when the next is written."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence

from celes_beam.errors import IntegrityError, StorageError
from celes_beam.stores.lake.commits import Commits
from celes_beam.stores.lake.log_index import Index, encode_index
from celes_beam.stores.lake.segments import Look, Segments, decision_name, index_name
from celes_beam.stores.lake.staging_area import each
from celes_beam.stores.lake.storage import Storage

CLOSER_SECONDS = 60.0
"""Whoever closed a segment has so long to write its index before another does."""
_READ_TOGETHER = 1024
"""So many decisions are in memory as they were written, when the first index is made."""
_LOGGER = logging.getLogger(__name__)


class Indexes:
    """Reads each index once, and passes a damaged one by with a line in the log."""

    def __init__(self, storage: Storage, segments: Segments) -> None:
        self._storage = storage
        self._segments = segments
        self._newest: Index | None = None
        self._damaged: set[str] = set()

    def newest(self, look: Look) -> Index | None:
        """The newest index that is sound; None when none is."""
        self._newest = self._find(look)
        return self._newest

    def next_number(self) -> int | None:
        """Close the open segment; the number of its index, or None when another writes that."""
        look = self._segments.look()
        if look.closed and look.closed not in look.indexes:
            # Whoever closed it is writing the index, or has died.
            is_late = time.time() >= look.closed_at + CLOSER_SECONDS
            return look.closed if is_late else None
        return look.open if self._segments.close(look.open) else None

    def write(self, number: int, seen: Commits, claimed: Mapping[str, int]) -> None:
        """Write the index of a segment that was closed before ``seen`` was looked at."""
        index = seen.index
        first = index.head.number + 1 if index is not None else 1
        announced = {run_id for _, run_id in self._segments.announced(range(first, number + 1))}
        if index is not None:
            announced.update(index.head.pending)
        undone = {m.run_id for m in seen.undone}
        lately = tuple(m for m in seen.lately if m.run_id not in undone)
        kept = Commits(lately, seen.superseded_lately, seen.done, index)
        data = encode_index(
            number,
            kept,
            decided=self._as_written([*(m.run_id for m in lately), *seen.superseded_lately]),
            pending=sorted(undone | (announced - kept.run_ids)),
            claimed=dict(claimed),
        )
        self._storage.put_if_absent(index_name(number), data)
        self._segments.forget_old(self._segments.look())

    def _find(self, look: Look) -> Index | None:
        for number in reversed(look.indexes):
            if self._newest is not None and self._newest.head.number == number:
                return self._newest
            name = index_name(number)
            if name in self._damaged:
                continue
            try:
                return Index(self._storage.read(name), name)
            except IntegrityError as error:
                _LOGGER.warning("%s; it is passed by, which takes longer", error)
                self._damaged.add(name)
            except StorageError:
                # It is deleted when newer ones are there.
                if self._storage.exists(name):
                    raise
        return None

    def _as_written(self, run_ids: Sequence[str]) -> Iterator[list[bytes]]:
        for first in range(0, len(run_ids), _READ_TOGETHER):
            names = map(decision_name, run_ids[first : first + _READ_TOGETHER])
            yield each(self._storage.read, names, at_once=self._storage.at_once)
