"""Publish a commit by all workers: in a bucket each file takes a copy and a deletion.

    decided ┬ moves ── Reshuffle ── Move ──┐
            ├ retired files ── Reshuffle ── Retire ──┐
            └ run id ─────────────────────────────── Finish

A step begins when those above it have ended. Each may be repeated, and be done meanwhile by others
who find the commit unpublished.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import apache_beam as beam

from celes_beam.errors import ConfigError, IntegrityError
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.manifest import Manifest
from celes_beam.stores.lake.publish import Move, move, moves_of, retire
from celes_beam.stores.lake.storage import open_storage

FILES_AT_ONCE = 256
"""Files of an element: about a second of requests."""


@dataclass(eq=False)
class PublishCommit(beam.PTransform):
    """PCollection of ``Manifest`` that are decided -> the same, now that they are published.

    Workers share the files out, ``files_at_once`` at a time. Raises ``ConfigError`` for less than
    one, and the steps raise what those of ``stores.lake.publish`` raise.
    """

    root: str
    files_at_once: int = FILES_AT_ONCE

    def __post_init__(self) -> None:
        if self.files_at_once < 1:
            raise ConfigError(f"files_at_once is {self.files_at_once}: expected 1 or more")

    def expand(self, decided: beam.PCollection[Manifest]) -> beam.PCollection[Manifest]:
        moved = (
            decided
            | "Moves" >> beam.FlatMap(_moves, self.files_at_once)
            | "Spread moves" >> beam.Reshuffle()
            | "Move" >> beam.ParDo(_MoveFn(self.root))
        )
        retired = (
            decided
            | "Retired files" >> beam.FlatMap(_retired, self.files_at_once)
            | "Spread retired files" >> beam.Reshuffle()
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


def _moves(manifest: Manifest, at_once: int) -> Iterator[tuple[str, list[Move]]]:
    moves = moves_of(manifest)
    for start in range(0, len(moves), at_once):
        yield manifest.run_id, moves[start : start + at_once]


def _retired(manifest: Manifest, at_once: int) -> Iterator[tuple[str, ...]]:
    for start in range(0, len(manifest.retired), at_once):
        yield manifest.retired[start : start + at_once]


def _run_id(manifest: Manifest) -> str:
    return manifest.run_id


class _MoveFn(beam.DoFn):
    """Gives how many files of each element it moved, or found moved."""

    def __init__(self, root: str) -> None:
        self._root = root

    def process(self, element: tuple[str, list[Move]]) -> Iterator[int]:
        run_id, moves = element
        move(open_storage(self._root), run_id, moves)
        yield len(moves)


class _RetireFn(beam.DoFn):
    """Gives how many files of each element it deleted, or found deleted."""

    def __init__(self, root: str) -> None:
        self._root = root

    def process(self, paths: tuple[str, ...], after: Iterable[int]) -> Iterator[int]:
        del after  # it is waited for
        retire(open_storage(self._root), paths)
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
