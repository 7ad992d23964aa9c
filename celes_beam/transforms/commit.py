"""Commit what all workers staged: the last step, on one element."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import apache_beam as beam

from celes_beam.stores.lake.ingest import RejectedLimit
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.manifest import Manifest
from celes_beam.stores.lake.set_aside import commit_settled
from celes_beam.stores.lake.staging import Staged, merge_staged


@dataclass(eq=False)
class CommitLake(beam.PTransform):
    """PCollection of ``Staged`` -> PCollection with the one ``Manifest`` that was decided.

    ``draft`` is the manifest as far as it was known before any row was read. A retried bundle
    finds the commit of its first try and returns that. There is none when files that cannot be
    taken in made another attempt necessary (``stores.lake.set_aside``).
    """

    root: str
    draft: Manifest
    limit: RejectedLimit
    reprocess: bool = False

    def expand(self, staged: beam.PCollection[Staged]) -> beam.PCollection[Manifest]:
        # CombineGlobally would take 14 transforms and 30 ms more, for a handful of descriptions.
        return (
            staged
            | "Key" >> beam.Map(_with_one_key)
            | "Gather" >> beam.GroupByKey()
            | "Decide and publish"
            >> beam.ParDo(_CommitFn(self.root, self.draft, self.limit, self.reprocess))
        )


def _with_one_key(staged: Staged) -> tuple[None, Staged]:
    return None, staged


class _CommitFn(beam.DoFn):
    def __init__(self, root: str, draft: Manifest, limit: RejectedLimit, reprocess: bool) -> None:
        self._root = root
        self._draft = draft
        self._limit = limit
        self._reprocess = reprocess

    def process(self, gathered: tuple[None, Iterable[Staged]]) -> Iterator[Manifest]:
        lake = Lake.open(self._root)
        staged = merge_staged(gathered[1])
        manifest = commit_settled(lake, self._draft, staged, self._limit, reprocess=self._reprocess)
        if manifest is not None:
            yield manifest
