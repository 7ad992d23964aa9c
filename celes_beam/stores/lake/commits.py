"""What has been decided in a lake, as one looks at it: an index of the oldest, and those since.

Each property gives what reading every commit would give, and reads no more than it needs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol, TypeVar

from celes_beam.stores.lake.log_index import (
    Index,
    Order,
    RunFiles,
    RunInputs,
    inputs_after,
    live_after,
)
from celes_beam.stores.lake.manifest import Manifest, Superseded, retired_paths

_FIRST: Order = (-1, False, "", "")


class Input(Protocol):
    """What identifies the content of an input."""

    @property
    def path(self) -> str: ...

    @property
    def size(self) -> int: ...

    @property
    def version(self) -> str: ...


InputT = TypeVar("InputT", bound=Input)


@dataclass(frozen=True)
class Commits:
    """What had been decided at one moment.

    ``lately`` are the commits that are not in the index, in order, ``done`` those of their run ids
    whose mark is there. All that is in the index is done.
    """

    lately: tuple[Manifest, ...]
    superseded_lately: Mapping[str, Superseded] = field(default_factory=dict)
    done: frozenset[str] = frozenset()
    index: Index | None = None

    @cached_property
    def manifests(self) -> tuple[Manifest, ...]:
        """All commits, each after those whose files it retires; with an index this takes time."""
        if self.index is None:
            return self.lately
        found = [d for d in self._indexed if isinstance(d, Manifest)]
        return tuple(sorted([*found, *self.lately], key=order))

    @cached_property
    def superseded(self) -> Mapping[str, Superseded]:
        """The runs that will never commit; with an index this takes time."""
        if self.index is None:
            return self.superseded_lately
        found = {d.run_id: d for d in self._indexed if isinstance(d, Superseded)}
        return found | dict(self.superseded_lately)

    @property
    def undone(self) -> tuple[Manifest, ...]:
        """Decided commits that may not be wholly published."""
        return tuple(m for m in self.lately if m.run_id not in self.done)

    @cached_property
    def run_ids(self) -> frozenset[str]:
        """The runs that are decided, also those that were superseded."""
        indexed = self.index.run_ids if self.index is not None else frozenset()
        return indexed.union((m.run_id for m in self.lately), self.superseded_lately)

    @cached_property
    def inputs(self) -> Sequence[RunInputs]:
        """The inputs of all commits that have any, in order."""
        base = self._base
        return inputs_after(base.inputs if base else (), self._after)

    @cached_property
    def live(self) -> Sequence[RunFiles]:
        """The files that count, of each commit that has any, in order."""
        base = self._base
        return live_after(base.live if base else (), self._after)

    @cached_property
    def retired(self) -> frozenset[str]:
        """The files that any commit retired."""
        indexed = self.index.retired if self.index is not None else ()
        return frozenset(retired_paths(self.lately)).union(indexed)

    def made_among(self, paths: Iterable[str]) -> set[str]:
        """Those of some paths that any commit made."""
        wanted = set(paths)
        found = {f.path for m in self.lately for f in m.files if f.path in wanted}
        if self.index is not None:
            found.update(f.path for r in self.index.live for f in r.files if f.path in wanted)
            found.update(wanted.intersection(self.index.retired))
        return found

    @cached_property
    def replays(self) -> Sequence[Manifest]:
        """The commits that replayed rejected rows, in order."""
        base = self._base
        lately = (m for m in self._after if m.replayed is not None)
        return [*(base.replays if base else ()), *lately]

    @property
    def epoch(self) -> int:
        """The newest epoch of a commit; 0 without any."""
        base = self.index.head.epoch if self.index is not None else 0
        return max([base, *(m.epoch for m in self.lately)])

    @property
    def overwritten(self) -> int:
        """The epoch of the newest overwrite; 0 without any."""
        base = self.index.head.overwritten if self.index is not None else 0
        return max([base, *(m.epoch for m in self.lately if m.kind == "overwrite")])

    @property
    def last(self) -> Order:
        """The place of the last commit."""
        base = self.index.head.last if self.index is not None else _FIRST
        return max(base, order(self.lately[-1])) if self.lately else base

    def named(self, paths: Collection[str]) -> frozenset[str]:
        """Those of some paths that are inputs of commits, also of such as were replaced since."""
        wanted = frozenset(paths)
        return frozenset(i.path for run in self.inputs for i in run.inputs if i.path in wanted)

    def unread_and_changed(
        self, inputs: Iterable[InputT], *, but: str | None = None
    ) -> tuple[list[InputT], list[tuple[InputT, str]]]:
        """Those of the inputs that the ledger does not name, and those that have changed since.

        The ledger is the inputs of all commits since the last overwrite, that one's included, but
        for those of the run ``but``. What has changed is paired with the run that took it in.
        """
        listed = list(inputs)
        wanted = {i.path for i in listed}
        keys: set[tuple[str, int, str]] = set()
        last_run: dict[str, str] = {}
        for run in self.inputs:
            if run.replaced or run.run_id == but:
                continue
            for taken in run.inputs:
                if taken.path not in wanted:
                    continue
                keys.add(taken.key)
                # Of a barren input no row is here that could be there twice: mended, it is another.
                if not taken.is_barren:
                    last_run[taken.path] = run.run_id
        others = [i for i in listed if (i.path, i.size, i.version) not in keys]
        unread = [i for i in others if i.path not in last_run]
        changed = [(i, last_run[i.path]) for i in others if i.path in last_run]
        return unread, changed

    @cached_property
    def _base(self) -> Index | None:
        """The index, if all that was decided since comes after it; else all has to be read."""
        in_order = not self.lately or (
            self.index is not None and order(self.lately[0]) > self.index.head.last
        )
        return self.index if in_order else None

    @property
    def _after(self) -> tuple[Manifest, ...]:
        return self.lately if self._base is not None else self.manifests

    @cached_property
    def _indexed(self) -> Sequence[Manifest | Superseded]:
        return self.index.decisions() if self.index is not None else ()


def order(manifest: Manifest) -> Order:
    """The place of a commit among others.

    The clocks of two machines may disagree, but a commit that retires files has a higher epoch than
    any whose files it retires; times only order appends among themselves.
    """
    return manifest.epoch, manifest.kind == "append", manifest.decided_at, manifest.run_id
