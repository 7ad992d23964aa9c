"""Publish a commit by several workers: in a bucket each file takes a copy and a deletion.

    decided ┬ moves ── GroupByKey ── Move ──┐
            ├ retired files ── GroupByKey ── Retire ──┐
            └ run id ──────────────────────────────── Finish

A step begins when those above it have ended. Each may be repeated, and be done meanwhile by others
who find the commit unpublished.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import apache_beam as beam

from celes_beam.errors import ConfigError, IntegrityError
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.manifest import Manifest
from celes_beam.stores.lake.publish import Move, move, moves_of, retire
from celes_beam.stores.lake.storage import open_storage

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
        moved = (
            decided
            | "Moves" >> beam.FlatMap(_moves, self.workers)
            | "Share moves" >> beam.GroupByKey()
            | "Move" >> beam.ParDo(_MoveFn(self.root))
        )
        retired = (
            decided
            | "Retired files" >> beam.FlatMap(_retired, self.workers)
            | "Share retired files" >> beam.GroupByKey()
            | "Retire" >> beam.ParDo(_RetireFn(self.root), after=beam.pvalue.AsIter(moved))
        )
        # The manifest of many files is large: it is read where it is needed.
        return (
            decided
            | "Run" >> beam.Map(_run_id)
            | "Finish"
            >> beam.ParDo(
                _FinishFn(self.root),
                moved=beam.pvalue.AsIter(moved),
                retired=beam.pvalue.AsIter(retired),
            )
        )


def _moves(manifest: Manifest, workers: int) -> Iterator[tuple[int, tuple[str, list[Move]]]]:
    for share, moves in _shares(moves_of(manifest), workers):
        yield share, (manifest.run_id, list(moves))


def _retired(manifest: Manifest, workers: int) -> Iterator[tuple[int, Sequence[str]]]:
    yield from _shares(manifest.retired, workers)


def _shares(items: Sequence[Item], workers: int) -> Iterator[tuple[int, Sequence[Item]]]:
    """Some at a time, to each worker in turn; few are divided among all, too."""
    at_once = min(_FILES, -(-len(items) // workers))
    for number, start in enumerate(range(0, len(items), at_once or 1)):
        yield number % workers, items[start : start + at_once]


def _run_id(manifest: Manifest) -> str:
    return manifest.run_id


class _MoveFn(beam.DoFn):
    """Gives how many files of each share it moved, or found moved."""

    def __init__(self, root: str) -> None:
        self._root = root

    def process(self, share: tuple[int, Iterable[tuple[str, list[Move]]]]) -> Iterator[int]:
        storage = open_storage(self._root)
        for run_id, moves in share[1]:
            move(storage, run_id, moves)
            yield len(moves)


class _RetireFn(beam.DoFn):
    """Gives how many files of each share it deleted, or found deleted."""

    def __init__(self, root: str) -> None:
        self._root = root

    def process(
        self, share: tuple[int, Iterable[Sequence[str]]], after: Iterable[int]
    ) -> Iterator[int]:
        del after  # it is waited for
        storage = open_storage(self._root)
        for paths in share[1]:
            retire(storage, paths)
            yield len(paths)


class _FinishFn(beam.DoFn):
    def __init__(self, root: str) -> None:
        self._root = root

    def process(
        self, run_id: str, moved: Iterable[int], retired: Iterable[int]
    ) -> Iterator[Manifest]:
        lake = Lake.open(self._root)
        manifest = lake.find(run_id)
        if manifest is None:
            raise IntegrityError(
                f"run {run_id} was decided, and is not among the commits of {self._root} any more: "
                "this program deletes none; restore it"
            )
        # Once it is marked nobody would look for what is missing.
        done = sum(moved), sum(retired)
        owed = len(manifest.all_files), len(manifest.retired)
        if done != owed:
            raise IntegrityError(
                f"run {run_id}: {done[0]:,} files were moved and {done[1]:,} deleted, of "
                f"{owed[0]:,} and {owed[1]:,}: the next look at {self._root} finishes it"
            )
        lake.finish(manifest)
        yield manifest
