"""Publish a commit by several workers: in a bucket each file takes a copy and a deletion.

    decided ─ moves ─ GroupByKey ─ Move ─ GroupByKey
            ─ retired files ─ GroupByKey ─ Retire ─ GroupByKey ─ Finish

A step begins when the one before has ended. Each may be repeated, and be done meanwhile by others
who find the commit unpublished. One line, without side inputs: where branches meet again, Flink
keeps what crosses an edge in 16 MB a slot, and task managers ran out of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import apache_beam as beam

from celes_beam.errors import ConfigError, IntegrityError
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.manifest import Manifest
from celes_beam.stores.lake.publish import Move, move, moves_of, retire
from celes_beam.stores.lake.storage import Storage, open_storage

WORKERS_AT_ONCE = 6
"""Each moves some 400 files a second, with two writes each; and a bucket takes a thousand writes a
second to begin with, more only once it has grown used to them."""
_FILES = 256
"""Files of an element: about a second of requests."""

Item = TypeVar("Item")


@dataclass(eq=False)
class PublishCommit(beam.PTransform):
    """PCollection of ``Manifest`` that are decided -> the same, now that they are published.

    At most ``workers`` share the files out. Raises ``ConfigError`` for less than one, and the steps
    raise what those of ``stores.lake.publish`` raise.
    """

    root: str
    workers: int = WORKERS_AT_ONCE

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise ConfigError(f"workers is {self.workers}: expected 1 or more to publish a commit")

    def expand(self, decided: beam.PCollection[Manifest]) -> beam.PCollection[Manifest]:
        return (
            decided
            | "Moves" >> beam.FlatMap(_moves, self.workers)
            | "Share moves" >> beam.GroupByKey()
            | "Move" >> beam.ParDo(_ShareFn(self.root, move))
            | "All moved" >> beam.GroupByKey()
            | "Retired files" >> beam.ParDo(_RetiredFn(self.root, self.workers))
            | "Share retired files" >> beam.GroupByKey()
            | "Retire" >> beam.ParDo(_ShareFn(self.root, _retire))
            | "All retired" >> beam.GroupByKey()
            | "Finish" >> beam.ParDo(_FinishFn(self.root))
        )


def _moves(manifest: Manifest, workers: int) -> Iterator[tuple[int, tuple[str, list[Move]]]]:
    for share, moves in _shares(moves_of(manifest), workers):
        yield share, (manifest.run_id, list(moves))


def _shares(items: Sequence[Item], workers: int) -> Iterator[tuple[int, Sequence[Item]]]:
    """Some at a time, to each worker in turn; few are divided among all, too.

    Of none there is one share all the same: without any the steps after it would not be done.
    """
    at_once = min(_FILES, -(-len(items) // workers)) or 1
    for number, start in enumerate(range(0, len(items) or 1, at_once)):
        yield number % workers, items[start : start + at_once]


def _retire(storage: Storage, run_id: str, paths: Iterable[str]) -> None:
    del run_id  # paths are never used twice
    retire(storage, paths)


class _ShareFn(beam.DoFn):
    """Gives how many files of each share were moved or deleted, now or before, by run."""

    def __init__(self, root: str, work: Callable[[Storage, str, Any], object]) -> None:
        self._root = root
        self._work = work

    def process(
        self, share: tuple[int, Iterable[tuple[str, Sequence[Any]]]]
    ) -> Iterator[tuple[str, int]]:
        storage = open_storage(self._root)
        for run_id, some in share[1]:
            self._work(storage, run_id, some)
            yield run_id, len(some)


class _RetiredFn(beam.DoFn):
    """Shares out what a commit retires, now that all its own files are in place."""

    def __init__(self, root: str, workers: int) -> None:
        self._root = root
        self._workers = workers

    def process(
        self, moved: tuple[str, Iterable[int]]
    ) -> Iterator[tuple[int, tuple[str, list[str]]]]:
        run_id, counts = moved
        # The manifest of many files is large: it is read where it is needed.
        manifest = _decided(Lake.open(self._root), run_id)
        _check_all(self._root, run_id, "moved", sum(counts), len(manifest.all_files))
        for share, paths in _shares(manifest.retired, self._workers):
            yield share, (run_id, list(paths))


class _FinishFn(beam.DoFn):
    def __init__(self, root: str) -> None:
        self._root = root

    def process(self, retired: tuple[str, Iterable[int]]) -> Iterator[Manifest]:
        run_id, counts = retired
        lake = Lake.open(self._root)
        manifest = _decided(lake, run_id)
        # Once it is marked nobody would look for what is missing.
        _check_all(self._root, run_id, "deleted", sum(counts), len(manifest.retired))
        lake.finish(manifest)
        yield manifest


def _decided(lake: Lake, run_id: str) -> Manifest:
    manifest = lake.find(run_id)
    if manifest is None:
        raise IntegrityError(
            f"run {run_id} was decided, and is not among the commits of {lake.storage.root} any "
            "more: this program deletes none; restore it"
        )
    return manifest


def _check_all(root: str, run_id: str, how: str, done: int, owed: int) -> None:
    if done != owed:
        raise IntegrityError(
            f"run {run_id}: {done:,} files were {how}, of {owed:,}: the next look at {root} "
            "finishes it"
        )
