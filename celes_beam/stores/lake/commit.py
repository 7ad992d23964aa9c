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
Appends retire nothing, so they claim nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from celes_beam.errors import IntegrityError, LakeConflictError, StorageError, UsageError
from celes_beam.stores.lake.manifest import Decision, Manifest, Superseded, decode, encode
from celes_beam.stores.lake.storage import Storage

COMMITS = "_commits"
STAGING = "_staging"
REJECTED = "_rejected"

_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_CLAIM = re.compile(r"epoch-(\d+)\.claim")


@dataclass(frozen=True)
class Commits:
    """What had been decided at one moment.

    ``manifests`` are in order: each after all whose files it retires. ``done`` holds the run ids
    whose mark is there, ``epoch`` the newest claimed epoch (0 for none).
    """

    manifests: tuple[Manifest, ...]
    superseded: Mapping[str, Superseded]
    done: frozenset[str]
    epoch: int

    @property
    def undone(self) -> tuple[Manifest, ...]:
        """Decided commits that may not be wholly published."""
        return tuple(m for m in self.manifests if m.run_id not in self.done)


class CommitLog:
    """The decisions of one lake. Decisions never change, so each is read once."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._decisions: dict[str, Decision] = {}

    def load(self) -> Commits:
        """Read all that has been decided. Raises ``IntegrityError`` for a broken decision."""
        run_ids, done, epoch = [], set(), 0
        for file in self._storage.list(COMMITS, recursive=False):
            name = file.name.removeprefix(f"{COMMITS}/")
            if name.startswith("."):
                continue
            if name.endswith(".json"):
                run_ids.append(name.removesuffix(".json"))
            elif name.endswith(".done"):
                done.add(name.removesuffix(".done"))
            elif claim := _CLAIM.fullmatch(name):
                epoch = max(epoch, int(claim[1]))
        decisions = [self._read(run_id) for run_id in run_ids]
        manifests = [d for d in decisions if isinstance(d, Manifest)]
        superseded = {d.run_id: d for d in decisions if isinstance(d, Superseded)}
        return Commits(tuple(sorted(manifests, key=_order)), superseded, frozenset(done), epoch)

    def decision(self, run_id: str) -> Decision | None:
        """What was decided about a run; None when nothing was yet."""
        if run_id not in self._decisions and not self._storage.exists(_decision_name(run_id)):
            return None
        return self._read(run_id)

    def decide(self, manifest: Manifest) -> Manifest:
        """Commit, unless the run is decided already; then raise ``LakeConflictError``.

        ``decided_at`` is set, and the epoch of an append (that of the newest decided retirement).
        """
        if manifest.kind == "append":
            newest = max((m.epoch for m in self.load().manifests), default=0)
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

    def claim_epoch(self, run_id: str) -> int:
        """Become the only commit that may retire files, until another claims after us.

        Raises ``LakeConflictError`` when the run is decided already.
        """
        while True:
            decision = self.decision(run_id)
            if decision is not None:
                raise conflict(decision)
            epoch = self.load().epoch
            if epoch:
                holder = self._storage.read(_claim_name(epoch)).decode()
                if holder == run_id:
                    return epoch
                if self.decision(holder) is None:
                    never = Superseded(run_id=holder, by=run_id, decided_at=now())
                    self._storage.put_if_absent(_decision_name(holder), encode(never))
            if self._storage.put_if_absent(_claim_name(epoch + 1), run_id.encode()):
                return epoch + 1

    def _read(self, run_id: str) -> Decision:
        if run_id not in self._decisions:
            name = _decision_name(run_id)
            self._decisions[run_id] = decode(self._storage.read(name), name)
        return self._decisions[run_id]


def publish(storage: Storage, manifest: Manifest) -> None:
    """Make a decided commit visible. Repeatable, and by several processes at once.

    Raises ``IntegrityError`` when a staged file is gone and no one has moved it.
    """
    moves = {f"{manifest.staging}/{f.staged}": f.path for f in manifest.files}
    moves |= {f"{manifest.staging}/{f.staged}": f.path for f in manifest.rejected_files}
    mark = mark_name(manifest.run_id)
    for staged, path in moves.items():
        try:
            storage.move(staged, path)
        except StorageError as error:
            if storage.exists(mark):
                # Someone else published it all, and a later commit has retired this file since.
                return
            if storage.exists(staged):
                raise
            raise IntegrityError(
                f"commit {manifest.run_id}: {path} is gone, and so is {staged}: neither is deleted "
                "by this program before the commit is published; restore one of them"
            ) from error
    storage.sync(moves.values())
    for path in manifest.retired:
        storage.delete(path)
    for file in list(storage.list(f"{REJECTED}/{manifest.run_id}")):
        if file.name not in moves.values():
            storage.delete(file.name)
    storage.delete_folder(f"{STAGING}/{manifest.run_id}")
    storage.put_if_absent(mark, f'{{"done_at": "{now()}"}}\n'.encode())


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


def _claim_name(epoch: int) -> str:
    return f"{COMMITS}/epoch-{epoch:08d}.claim"


def _order(manifest: Manifest) -> tuple[int, bool, str, str]:
    # The clocks of two machines may disagree, but a commit that retires files has a higher epoch
    # than any whose files it retires; times only order appends among themselves.
    return manifest.epoch, manifest.kind == "append", manifest.decided_at, manifest.run_id


def _with(manifest: Manifest, **changes: object) -> Manifest:
    return msgspec.structs.replace(manifest, **changes)
