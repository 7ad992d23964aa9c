"""Commit what all workers staged: the last step, on one element."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import apache_beam as beam

from celes_beam.errors import InputError
from celes_beam.stores.lake.ingest import RejectedLimit
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.manifest import Manifest
from celes_beam.stores.lake.set_aside import commit_settled, noted_troubles
from celes_beam.stores.lake.staging import Staged, merge_staged
from celes_beam.stores.lake.storage import open_storage
from celes_beam.transforms.publish import PublishCommit

_LOGGER = logging.getLogger(__name__)
_TROUBLES_TOLD = 3


@dataclass(eq=False)
class CommitLake(beam.PTransform):
    """PCollection of ``Staged`` -> PCollection with the one ``Manifest`` that was decided.

    ``draft`` is the manifest as far as it was known before any row was read. A retried bundle
    finds the commit of its first try and returns that. There is none when files that cannot be
    taken in made another attempt necessary (``stores.lake.set_aside``); as the ``only_attempt``,
    with nobody to make another, it raises ``InputError`` naming the files. To ``spread`` shares the
    work of publishing out to all workers, where a file takes requests; else the one that decides
    does it.
    """

    root: str
    draft: Manifest
    limit: RejectedLimit
    reprocess: bool = False
    only_attempt: bool = False
    spread: bool = False

    def expand(self, staged: beam.PCollection[Staged]) -> beam.PCollection[Manifest]:
        # CombineGlobally would take 14 transforms and 30 ms more, for a handful of descriptions.
        gathered = staged | "Key" >> beam.Map(_with_one_key) | "Gather" >> beam.GroupByKey()
        if not (self.spread and open_storage(self.root).moves_by_copy):
            return gathered | "Decide and publish" >> beam.ParDo(_CommitFn(self, publish=True))
        decide = beam.ParDo(_CommitFn(self, publish=False))
        return gathered | "Decide" >> decide | "Publish" >> PublishCommit(self.root)


def _with_one_key(staged: Staged) -> tuple[None, Staged]:
    return None, staged


class _CommitFn(beam.DoFn):
    def __init__(self, how: CommitLake, *, publish: bool) -> None:
        self._root = how.root
        self._draft = how.draft
        self._limit = how.limit
        self._reprocess = how.reprocess
        self._only_attempt = how.only_attempt
        self._publish = publish

    def process(self, gathered: tuple[None, Iterable[Staged]]) -> Iterator[Manifest]:
        lake = Lake.open(self._root)
        staged = merge_staged(gathered[1])
        manifest = commit_settled(
            lake,
            self._draft,
            staged,
            self._limit,
            reprocess=self._reprocess,
            publish=self._publish,
        )
        if manifest is None:
            if self._only_attempt:
                raise _needs_another_attempt(lake, self._draft)
            return
        if self._only_attempt:
            for path in sorted({i.path for i in self._draft.inputs} - _paths(manifest)):
                _LOGGER.warning("left for the next run: %s changed while it was read", path)
        yield manifest


def _paths(manifest: Manifest) -> set[str]:
    return {i.path for i in manifest.inputs}


def _needs_another_attempt(lake: Lake, draft: Manifest) -> InputError:
    troubles = noted_troubles(lake, draft)
    why = "; ".join(t.why for t in troubles[:_TROUBLES_TOLD])
    more = len(troubles) - _TROUBLES_TOLD
    return InputError(
        f"nothing was committed, for {len(troubles):,} of {len(draft.inputs):,} files could not be "
        f"read to the end: {why}{f', and {more:,} more' if more > 0 else ''}; move them away, and "
        "launch again; or run on a machine of yours, which goes on without them by itself"
    )
