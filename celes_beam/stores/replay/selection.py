"""Which rejected rows are to be replayed, and why the others are not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from celes_beam.sales.identities import Identities, IdentitySet, identify
from celes_beam.sales.records import Mask
from celes_beam.sales.replay import can_be_replayed


@dataclass(frozen=True)
class Selection:
    """What was asked for: any of ``reasons`` (none: all), rejected from ``since`` until before
    ``until``; both timezone-aware.
    """

    reasons: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None

    def holds(self, rejected: pa.RecordBatch) -> Mask:
        """For each of some rejected rows whether it was asked for."""
        asked = np.ones(rejected.num_rows, np.bool_)
        times = rejected.column("rejected_at")
        if self.since is not None:
            asked &= _mask(pc.greater_equal(times, pa.scalar(self.since, times.type)))
        if self.until is not None:
            asked &= _mask(pc.less(times, pa.scalar(self.until, times.type)))
        if self.reasons:
            reasons = rejected.column("reasons")
            wanted = pc.is_in(pc.list_flatten(reasons), pa.array(self.reasons, pa.string()))
            has_one = np.zeros(rejected.num_rows, np.bool_)
            has_one[pc.list_parent_indices(reasons).to_numpy()[_mask(wanted)]] = True
            asked &= has_one
        return asked


@dataclass
class Tally:
    """What came of looking through rejected rows.

    ``by_reason`` are those to be replayed. ``kept_by_reason`` cannot be, for their raw bytes are
    not there or were cut, and stay where they are; both count a row under its first reason.
    ``replayed_before`` were, or stand there twice. ``judged_before`` were rejected by a replay with
    the very same rules. ``replaced`` are of commits that an overwrite has replaced, and not among
    those ``seen``.
    """

    seen: int = 0
    not_asked_for: int = 0
    replayed_before: int = 0
    judged_before: int = 0
    replaced: int = 0
    by_reason: Counter[str] = field(default_factory=Counter)
    kept_by_reason: Counter[str] = field(default_factory=Counter)

    @property
    def rows(self) -> int:
        """Rows to be replayed."""
        return self.by_reason.total()

    @property
    def kept(self) -> int:
        """Rows that cannot be replayed."""
        return self.kept_by_reason.total()


@dataclass(frozen=True, eq=False)
class Fates:
    """What is to become of each row of a batch: ``chosen`` are to be replayed, ``over`` were."""

    chosen: Mask
    over: Mask


class Chooser:
    """Chooses row by row, each identity once; of a row that comes again, only the first.

    ``before`` are those that were replayed, and takes in what is chosen. ``judged_at`` are the
    times, in microseconds since 1970, at which replays with today's rules rejected rows; ``epoch``
    that of the newest overwrite that was known then.
    """

    def __init__(
        self,
        selection: Selection,
        before: IdentitySet,
        judged_at: Collection[int] = (),
        *,
        epoch: int = 0,
    ) -> None:
        self._selection = selection
        self._seen = before
        self._judged_at = pa.array(sorted(judged_at), pa.int64())
        self.epoch = epoch
        self.tally = Tally()
        self.identities: list[Identities] = []

    def choose(self, rejected: pa.RecordBatch, whole: Mask | None = None) -> Fates:
        """Choose among rejected rows (``contract.REJECTED_SCHEMA``).

        ``whole`` says of which the raw bytes are, where others know better.
        """
        tally = self.tally
        tally.seen += rejected.num_rows
        asked = self._selection.holds(rejected)
        tally.not_asked_for += int((~asked).sum())
        usable = can_be_replayed(rejected, whole)
        tally.kept_by_reason.update(_first_reasons(rejected, asked & ~usable))
        times = rejected.column("rejected_at").cast(pa.int64())
        judged = _mask(pc.is_in(times, self._judged_at))
        judged &= rejected.column("attempt").to_numpy() > 1
        tally.judged_before += int((asked & usable & judged).sum())
        places = np.flatnonzero(asked & usable & ~judged)
        identities = identify(rejected.take(pa.array(places)))
        is_new = self._seen.add(identities)
        tally.replayed_before += int((~is_new).sum())
        if is_new.any():
            self.identities.append(identities[is_new])
        chosen = np.zeros(rejected.num_rows, np.bool_)
        chosen[places[is_new]] = True
        over = np.zeros(rejected.num_rows, np.bool_)
        over[places[~is_new]] = True
        tally.by_reason.update(_first_reasons(rejected, chosen))
        return Fates(chosen, over)


def _first_reasons(rejected: pa.RecordBatch, rows: Mask) -> Iterator[str]:
    reasons = rejected.column("reasons").filter(pa.array(rows))
    return iter(pc.list_element(reasons, 0).to_pylist() if len(reasons) else ())


def _mask(booleans: pa.Array) -> Mask:
    found: Mask = booleans.to_numpy(zero_copy_only=False)
    return found
