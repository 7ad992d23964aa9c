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
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import msgspec

from celes_beam.errors import IntegrityError, LakeConflictError, StorageError, UsageError
from celes_beam.stores.inputs.refused import LAKE_MARK
from celes_beam.stores.lake.manifest import (
    Decision,
    Manifest,
    Superseded,
    decode,
    encode,
    retired_paths,
)
from celes_beam.stores.lake.staging_area import each
from celes_beam.stores.lake.storage import Storage

COMMITS = LAKE_MARK
STAGING = "_staging"
REJECTED = "_rejected"
REPLAYED = "_replayed"

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


@dataclass(frozen=True)
class Commits:
    """What had been decided at one moment.

    ``manifests`` are in order: each after all whose files it retires. ``done`` holds the run ids
    whose mark is there, ``claimed`` the newest claim of each chain that has any.
    """

    manifests: tuple[Manifest, ...]
    superseded: Mapping[str, Superseded]
    done: frozenset[str]
    claimed: Mapping[str, int]

    @property
    def undone(self) -> tuple[Manifest, ...]:
        """Decided commits that may not be wholly published."""
        return tuple(m for m in self.manifests if m.run_id not in self.done)


class CommitLog:
    """The decisions of one lake. Decisions never change, so each is read once."""

    def __init__(self, storage: Storage, patience: Patience | None = None) -> None:
        self._storage = storage
        self._patience = patience or Patience()
        self._decisions: dict[str, Decision] = {}
        self._loaded: Commits | None = None

    def load(self) -> Commits:
        """Read all that has been decided. Raises ``IntegrityError`` for a broken decision."""
        run_ids, done = [], set()
        claimed: dict[str, int] = {}
        for file in self._storage.list(COMMITS, recursive=False):
            name = file.name.removeprefix(f"{COMMITS}/")
            if name.startswith("."):
                continue
            if name.endswith(".json"):
                run_ids.append(name.removesuffix(".json"))
            elif name.endswith(".done"):
                done.add(name.removesuffix(".done"))
            elif claim := _CLAIM.fullmatch(name):
                claimed[claim[1]] = max(claimed.get(claim[1], 0), int(claim[2]))
        decisions = each(self._read, run_ids, at_once=self._storage.at_once)
        manifests = [d for d in decisions if isinstance(d, Manifest)]
        superseded = {d.run_id: d for d in decisions if isinstance(d, Superseded)}
        ordered = tuple(sorted(manifests, key=_order))
        self._loaded = Commits(ordered, superseded, frozenset(done), claimed)
        return self._loaded

    def decision(self, run_id: str) -> Decision | None:
        """What was decided about a run; None when nothing was yet."""
        if run_id not in self._decisions and not self._storage.exists(_decision_name(run_id)):
            return None
        return self._read(run_id)

    def decide(self, manifest: Manifest) -> Manifest:
        """Commit, unless the run is decided already; then raise ``LakeConflictError``.

        ``decided_at`` is set, and the epoch of an append (that of the newest retirement known).
        """
        if manifest.kind == "append":
            # It orders commits for people: what was decided since the last look may come after.
            seen = self._loaded or self.load()
            newest = max((m.epoch for m in seen.manifests), default=0)
            manifest = _with(manifest, epoch=newest)
        manifest = _with(manifest, decided_at=now())
        if self._storage.put_if_absent(_decision_name(manifest.run_id), encode(manifest)):
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
        while True:
            decision = self.decision(run_id)
            if decision is not None:
                raise conflict(decision)
            newest = seen.claimed.get(chain, 0)
            if newest:
                holder = self._holder(_claim_name(chain, newest))
                if holder == run_id:
                    check()
                    return newest
                if not self._decides_soon(holder):
                    never = Superseded(run_id=holder, by=run_id, decided_at=now())
                    self._storage.put_if_absent(_decision_name(holder), encode(never))
            check()
            if self._storage.put_if_absent(_claim_name(chain, newest + 1), run_id.encode()):
                return newest + 1
            seen = self.load()

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

    def _read(self, run_id: str) -> Decision:
        if run_id not in self._decisions:
            name = _decision_name(run_id)
            decision = decode(self._storage.read(name), name)
            if decision.run_id != run_id:
                raise IntegrityError(
                    f"{name} is the commit of run {decision.run_id}: it was copied or renamed; "
                    "move it away"
                )
            self._decisions[run_id] = decision
        return self._decisions[run_id]


def publish(storage: Storage, manifest: Manifest) -> None:
    """Make a decided commit visible. Repeatable, and by several processes at once.

    Raises ``IntegrityError`` when a staged file is gone and no one has moved it.
    """
    moves = {f"{manifest.staging}/{f.staged}": f.path for f in manifest.all_files}
    mark = mark_name(manifest.run_id)

    def move(names: tuple[str, str]) -> bool:
        staged, path = names
        try:
            storage.move(staged, path)
        except StorageError as error:
            if storage.exists(mark):
                # Someone else published it all, and a later commit has retired this file since.
                return False
            if storage.exists(staged):
                raise
            raise IntegrityError(
                f"commit {manifest.run_id}: {path} is gone, and so is {staged}: neither is deleted "
                "by this program before the commit is published; restore one of them"
            ) from error
        return True

    moved = each(move, moves.items(), at_once=storage.at_once)
    if storage.moves_by_copy and storage.exists(mark):
        _delete_brought_back(storage, manifest)
    if not all(moved):
        return
    storage.sync(moves.values())
    each(storage.delete, manifest.retired, at_once=storage.at_once)
    for file in list(storage.list(f"{REJECTED}/{manifest.run_id}")):
        if file.name not in moves.values():
            storage.delete(file.name)
    storage.delete_folder(f"{STAGING}/{manifest.run_id}")
    storage.put_if_absent(mark, f'{{"done_at": "{now()}"}}\n'.encode())


def _delete_brought_back(storage: Storage, manifest: Manifest) -> None:
    """Delete what a copy of ours, slower than another process, made of a file retired meanwhile.

    A commit that decides to retire one later than this looks deletes it later than this, too.
    """
    retired = retired_paths(CommitLog(storage).load().manifests)
    paths = [f.path for f in manifest.files if f.path in retired]
    each(storage.delete, paths, at_once=storage.at_once)


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


def _decision_name(run_id: str) -> str:
    return f"{COMMITS}/{run_id}.json"


def _claim_name(chain: Chain, number: int) -> str:
    return f"{COMMITS}/{chain}-{number:08d}.claim"


def _order(manifest: Manifest) -> tuple[int, bool, str, str]:
    # The clocks of two machines may disagree, but a commit that retires files has a higher epoch
    # than any whose files it retires; times only order appends among themselves.
    return manifest.epoch, manifest.kind == "append", manifest.decided_at, manifest.run_id


def _with(manifest: Manifest, **changes: object) -> Manifest:
    return msgspec.structs.replace(manifest, **changes)
