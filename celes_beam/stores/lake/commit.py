"""The commit protocol of a lake: decide, publish, recover, and the epochs of commits that retire.

A run *stages* its files under ``_staging/<run_id>/<attempt>/``. It *decides* by creating
``_commits/<run_id>.json`` with put-if-absent: before that nothing of it is visible, afterwards all
of it is. It *publishes*: moves the new files into place, deletes the retired ones and its staging,
and creates the mark ``_commits/<run_id>.done``. Every step of publishing can be repeated, and
by several processes at once, so whoever finds a decision without its mark finishes it first.

**What is live** is every file added by a decided commit less every file retired by one; the order
of commits does not matter to it. Paths are never used twice, so a late repetition of a deletion
deletes nothing else. A commit retires only files of commits whose mark is there: once the mark is
there every staged file has been moved, so a late repetition of a move finds no source and cannot
bring back what was retired since.

**Commits that retire** (create, overwrite, compact) must see each other's effects: a compaction
that merges f1 and f2 into f3 while an overwrite retires f1 and f2 would bring their rows back. So
each first claims the next epoch, by put-if-absent of ``_commits/epoch-<n>.claim`` holding its run
id, and computes what it retires only then. Before claiming n+1, the holder of n must have decided;
if it has not, it is superseded: its decision is put, by the claimant, as "never", and its own
put-if-absent fails. Hence when n+1 is claimed, every retiring commit of epochs up to n is decided,
for good, and in the snapshot that the holder of n+1 takes; and no two commits retire the same file.
A holder that comes back with the same run id uses its claim on, if it was not superseded.

**Commits that take in inputs** (appends with inputs; create and overwrite, too) must see each
other's inputs, or two appends of one file would both find it unread. They claim turns of a chain of
their own, ``_commits/inputs-<n>.claim``, by the same rule. An append looks into the ledger when
the holder of n has decided, and claims n+1 only if its inputs are not there: if that succeeds,
nobody has come between, and if they are there, no claim of it is in anybody's way. An append is not
in the way of a compaction, which takes in nothing; an append without inputs claims nothing; and one
that reads its inputs again on purpose does not look, so it need not claim.

Between claim and decision of a commit is a moment, so that a claimant waits for it a little
(``Patience``) before it supersedes a holder: runs that do not concern each other all commit. How
long it waits is a matter of kindness; nothing above depends on it, or on clocks that agree.

Before it decides a run announces itself (``segments.py``). So when many commits are there, an index
(``log_index.py``) says what the oldest of them say, and only those announced since are read.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, get_args

import msgspec

from celes_beam.errors import (
    CelesError,
    IntegrityError,
    LakeConflictError,
    StorageError,
    UsageError,
)
from celes_beam.stores.inputs.refused import LAKE_MARK
from celes_beam.stores.lake.commits import Commits, order
from celes_beam.stores.lake.indexes import Indexes
from celes_beam.stores.lake.log_index import Index
from celes_beam.stores.lake.manifest import Decision, Manifest, Superseded, decode, encode
from celes_beam.stores.lake.segments import Look, Segments, decision_name
from celes_beam.stores.lake.staging_area import each
from celes_beam.stores.lake.storage import Storage

COMMITS = LAKE_MARK
STAGING = "_staging"
REJECTED = "_rejected"
REPLAYED = "_replayed"
SEGMENT_COMMITS = 128
"""When so many commits are in no index, a new one is written."""

_LOGGER = logging.getLogger(__name__)
_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_CLAIM = re.compile(r"(epoch|inputs)-(\d+)\.claim")

Chain = Literal["epoch", "inputs"]
"""What is claimed: the right to retire files, or to take in inputs."""


@dataclass(frozen=True)
class Patience:
    """How long a claimant waits for the decision of the holder before it, and by which clock."""

    seconds: float = 2.0
    poll_seconds: float = 0.05
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], object] = time.sleep


class CommitLog:
    """The decisions of one lake. Decisions never change, so each is read once.

    An index is kept once ``segment_commits`` commits are in none.
    """

    def __init__(
        self,
        storage: Storage,
        patience: Patience | None = None,
        *,
        segment_commits: int = SEGMENT_COMMITS,
    ) -> None:
        self._storage = storage
        self._patience = patience or Patience()
        self._segment_commits = segment_commits
        self._segments = Segments(storage)
        self._indexes = Indexes(storage, self._segments)
        self._decisions: dict[str, Decision] = {}
        self._done: set[str] = set()
        self._claimed: dict[str, int] = {}
        self._index: Index | None = None
        self._loaded: Commits | None = None
        self._unindexed = 0

    def load(self) -> Commits:
        """Look at all that has been decided. Raises ``IntegrityError`` for a broken decision."""
        look = self._segments.look()
        index = self._index = self._indexes.newest(look)
        seen = self._loaded = self.load_all() if index is None else self._load_since(index, look)
        self._unindexed = len(seen.lately) + len(seen.superseded_lately)
        return seen

    def load_all(self) -> Commits:
        """As ``load``, by reading every decision, whatever an index says."""
        run_ids = []
        for file in self._storage.list(COMMITS, recursive=False):
            name = file.name.removeprefix(f"{COMMITS}/")
            if name.startswith("."):
                continue
            if name.endswith(".json"):
                run_ids.append(name.removesuffix(".json"))
            elif name.endswith(".done"):
                self._done.add(name.removesuffix(".done"))
            elif claim := _CLAIM.fullmatch(name):
                self._claimed[claim[1]] = max(self._claimed.get(claim[1], 0), int(claim[2]))
        return self._commits(each(self._read, run_ids, at_once=self._storage.at_once), None)

    def _load_since(self, index: Index, look: Look) -> Commits:
        since = self._segments.announced(range(index.head.number + 1, look.open + 1))
        run_ids = {*index.head.pending, *(run_id for _, run_id in since)} - index.run_ids
        at_once = self._storage.at_once
        found = each(self._read_if_there, sorted(run_ids), at_once=at_once)
        decisions = [d for d in found if d is not None]
        unmarked = [
            d.run_id for d in decisions if isinstance(d, Manifest) and d.run_id not in self._done
        ]
        marks = each(self._storage.exists, map(mark_name, unmarked), at_once=at_once)
        self._done.update(r for r, done in zip(unmarked, marks, strict=True) if done)
        return self._commits(decisions, index)

    def _commits(self, decisions: list[Decision], index: Index | None) -> Commits:
        manifests = [d for d in decisions if isinstance(d, Manifest)]
        superseded = {d.run_id: d for d in decisions if isinstance(d, Superseded)}
        ordered = tuple(sorted(manifests, key=order))
        return Commits(ordered, superseded, frozenset(self._done), index)

    def keep_index(self) -> None:
        """Write an index when many commits are in none; nothing fails when that fails."""
        try:
            if self._loaded is None:
                self.load()
            if self._unindexed < self._segment_commits:
                return
            number = self._indexes.next_number()
            if number is not None:
                # What was announced up to that segment is listed now that it is closed.
                seen = self.load()
                claimed = {chain: self._newest_claim(chain) for chain in get_args(Chain)}
                self._indexes.write(number, seen, claimed)
        except CelesError as error:
            _LOGGER.warning("no index of commits was written, which takes longer: %s", error)

    def decision(self, run_id: str) -> Decision | None:
        """What was decided about a run; None when nothing was yet."""
        if run_id not in self._decisions and not self._storage.exists(decision_name(run_id)):
            return None
        return self._read(run_id)

    def decide(self, manifest: Manifest) -> Manifest:
        """Commit, unless the run is decided already; then raise ``LakeConflictError``.

        ``decided_at`` is set, and the epoch of an append (that of the newest retirement known).
        """
        if manifest.kind == "append":
            # It orders commits for people: what was decided since the last look may come after.
            seen = self._loaded or self.load()
            manifest = _with(manifest, epoch=seen.epoch)
        self._segments.announce(manifest.run_id)
        manifest = _with(manifest, decided_at=now())
        if self._storage.put_if_absent(decision_name(manifest.run_id), encode(manifest)):
            self._unindexed += 1
            self._decisions[manifest.run_id] = manifest
            return manifest
        found = self._read(manifest.run_id)
        # A put that was repeated after its answer was lost finds what it put itself.
        if isinstance(found, Manifest) and found.staging == manifest.staging:
            return found
        raise conflict(found)

    def claim(self, run_id: str, chain: Chain, check: Callable[[], object] = lambda: None) -> int:
        """Become the only commit that may go on in a chain, until another claims after us.

        Waits a little for a holder that has not decided, and supersedes it then. ``check`` may
        raise when all before us have decided; what it finds is true as long as the claim is ours.
        Raises ``LakeConflictError`` when the run is decided already.
        """
        # An old look will do to begin with: the claim after one that is not the newest is taken.
        seen = self._loaded or self.load()
        base = seen.index.head.claimed.get(chain, 0) if seen.index is not None else 0
        newest = max(base, self._claimed.get(chain, 0))
        while True:
            decision = self.decision(run_id)
            if decision is not None:
                raise conflict(decision)
            if newest:
                holder = self._holder(_claim_name(chain, newest))
                if holder == run_id:
                    check()
                    return newest
                if not self._decides_soon(holder):
                    never = Superseded(run_id=holder, by=run_id, decided_at=now())
                    self._segments.announce(holder)
                    self._storage.put_if_absent(decision_name(holder), encode(never))
            check()
            if self._storage.put_if_absent(_claim_name(chain, newest + 1), run_id.encode()):
                self._claimed[chain] = newest + 1
                return newest + 1
            newest = self._newest_claim(chain, at_least=newest + 1)

    def _newest_claim(self, chain: Chain, at_least: int = 0) -> int:
        """The number of the newest claim: they have no gaps, so few have to be looked for."""
        newest = max(at_least, self._claimed.get(chain, 0))
        if self._index is not None:
            newest = max(newest, self._index.head.claimed.get(chain, 0))
        step = 1
        while step:
            if self._storage.exists(_claim_name(chain, newest + step)):
                newest += step
                step *= 2
            else:
                step //= 2
        self._claimed[chain] = newest
        return newest

    def _holder(self, claim: str) -> str:
        try:
            holder = self._storage.read(claim).decode().strip()
            check_run_id(holder)
        except (UnicodeDecodeError, UsageError) as error:
            raise IntegrityError(
                f"{claim} does not hold a run id: something else wrote there; move it away when "
                "no run is going on"
            ) from error
        return holder

    def _decides_soon(self, run_id: str) -> bool:
        deadline = self._patience.clock() + self._patience.seconds
        while self.decision(run_id) is None:
            if self._patience.clock() >= deadline:
                return False
            self._patience.sleep(self._patience.poll_seconds)
        return True

    def is_over(self, run_id: str) -> bool:
        """Whether a run was superseded, or has committed and is wholly published."""
        decision = self.decision(run_id)
        if isinstance(decision, Manifest) and run_id not in self._done:
            return self._storage.exists(mark_name(run_id))
        return decision is not None

    def _read_if_there(self, run_id: str) -> Decision | None:
        try:
            return self._read(run_id)
        except StorageError:
            if not self._storage.exists(decision_name(run_id)):
                return None
        # It may have been decided between the two looks; what is there now stays there.
        return self._read(run_id)

    def _read(self, run_id: str) -> Decision:
        if run_id not in self._decisions:
            name = decision_name(run_id)
            decision = decode(self._storage.read(name), name)
            if decision.run_id != run_id:
                raise IntegrityError(
                    f"{name} is the commit of run {decision.run_id}: it was copied or renamed; "
                    "move it away"
                )
            self._decisions[run_id] = decision
        return self._decisions[run_id]


def check_run_id(run_id: str) -> None:
    """Raise ``UsageError`` unless a run id can name files everywhere."""
    if not _RUN_ID.fullmatch(run_id):
        raise UsageError(
            f"run id {run_id!r}: expected a letter or digit, then up to 99 letters, digits, "
            "'.', '_' or '-'"
        )


def conflict(decision: Decision) -> LakeConflictError:
    """The error that says who went ahead of a run."""
    run_id = decision.run_id
    if isinstance(decision, Superseded):
        return LakeConflictError(
            f"run {run_id} was superseded by {decision.by}: run again with a new run id"
        )
    return LakeConflictError(
        f"run {run_id} was committed by another process at {decision.decided_at}; "
        "nothing of this attempt was kept"
    )


def mark_name(run_id: str) -> str:
    """The mark that says a commit is wholly published."""
    return f"{COMMITS}/{run_id}.done"


def now() -> str:
    """The time, as manifests hold it."""
    return datetime.now(UTC).isoformat()


def _claim_name(chain: Chain, number: int) -> str:
    return f"{COMMITS}/{chain}-{number:08d}.claim"


def _with(manifest: Manifest, **changes: object) -> Manifest:
    return msgspec.structs.replace(manifest, **changes)
