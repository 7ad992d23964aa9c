"""The ids of messages written lately, so that one delivered again is not written again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Hashes = npt.NDArray[np.int64]
_RUNS_PER_WINDOW = 8
"""Runs are not merged beyond this part of the window, so that the oldest can be let go of whole."""


@dataclass(frozen=True, eq=False)
class _Run:
    """Ids added one after another: their hashes in order, and where in ``ids`` each one stands."""

    hashes: Hashes
    places: npt.NDArray[np.int64]
    ids: pa.Array
    oldest_us: int
    newest_us: int

    def __len__(self) -> int:
        return len(self.hashes)

    def holds(self, hash_: int, first: int, text: str) -> bool:
        """Whether ``text`` is here, if ``first`` is the first place of its hash."""
        for at in range(first, len(self)):
            if self.hashes[at] != hash_:
                return False
            if self.ids[int(self.places[at])].as_py() == text:
                return True
        return False


def hash_ids(ids: Sequence[str]) -> Hashes:
    """A 64-bit hash of each id, the same within one process only."""
    return np.fromiter(map(hash, ids), np.int64, len(ids))


class SeenIds:
    """Remembers the ids of the last ``window_us`` microseconds, in their text and 24 bytes each.

    A hash alone never decides: ids are compared as texts. Not thread-safe.
    """

    def __init__(
        self, window_us: int, *, hash_ids: Callable[[Sequence[str]], Hashes] = hash_ids
    ) -> None:
        self._window_us = window_us
        self._hash_ids = hash_ids
        self._runs: list[_Run] = []

    def __len__(self) -> int:
        return sum(map(len, self._runs))

    def add(self, ids: Sequence[str], at_us: int) -> None:
        """Remember ids that were written at a time, in microseconds since 1970."""
        if not ids:
            return
        hashes = self._hash_ids(ids)
        order = np.argsort(hashes, kind="stable")
        texts = pa.array(ids, pa.large_string())
        self._runs.append(_Run(hashes[order], order, texts, at_us, at_us))
        while len(self._runs) > 1 and self._may_merge(*self._runs[-2:]):
            self._runs[-2:] = [_merged(*self._runs[-2:])]

    def seen(self, ids: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Say of each id whether it is remembered."""
        found = np.zeros(len(ids), np.bool_)
        if not self._runs or not ids:
            return found
        hashes = self._hash_ids(ids)
        # In order, so that one search after another looks at the same memory.
        order = np.argsort(hashes)
        wanted = hashes[order]
        for run in self._runs:
            firsts = np.searchsorted(run.hashes, wanted)
            there = run.hashes[np.minimum(firsts, len(run) - 1)] == wanted
            for at in np.flatnonzero(there).tolist():
                place = int(order[at])
                if not found[place]:
                    found[place] = run.holds(int(wanted[at]), int(firsts[at]), ids[place])
        return found

    def forget(self, now_us: int) -> None:
        """Let go of ids older than the window; some stay a little longer."""
        before = now_us - self._window_us
        self._runs = [run for run in self._runs if run.newest_us >= before]

    def _may_merge(self, older: _Run, newer: _Run) -> bool:
        span = max(older.newest_us, newer.newest_us) - min(older.oldest_us, newer.oldest_us)
        # Of sizes alike only, so that an id is moved but a few times.
        return len(older) <= 2 * len(newer) and span * _RUNS_PER_WINDOW <= self._window_us


def _merged(older: _Run, newer: _Run) -> _Run:
    hashes = np.concatenate([older.hashes, newer.hashes])
    places = np.concatenate([older.places, newer.places + len(older)])
    order = np.argsort(hashes, kind="stable")
    return _Run(
        hashes[order],
        places[order],
        pa.concat_arrays([older.ids, newer.ids]),
        min(older.oldest_us, newer.oldest_us),
        max(older.newest_us, newer.newest_us),
    )
