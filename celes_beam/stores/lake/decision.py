"""The decision of a run: what is checked before, the turns it takes, the one put that counts."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from celes_beam.errors import (
    IntegrityError,
    LakeConflictError,
    LakeExistsError,
    TooManyRejectedError,
    UsageError,
)
from celes_beam.stores.lake.commit import CommitLog, check_run_id, conflict
from celes_beam.stores.lake.commits import Commits, InputT
from celes_beam.stores.lake.deciding import deciding
from celes_beam.stores.lake.manifest import Manifest, count_problems
from celes_beam.stores.lake.replayed import check_not_replayed
from celes_beam.stores.lake.snapshot import Snapshot
from celes_beam.stores.lake.staged_files import staging_problems
from celes_beam.stores.lake.storage import Storage


class Decider:
    """Decides on drafts; ``snapshot`` finishes commits that were cut short first."""

    def __init__(self, storage: Storage, log: CommitLog, snapshot: Callable[[], Snapshot]) -> None:
        self._storage = storage
        self._log = log
        self._snapshot = snapshot

    def decided(self, draft: Manifest) -> Manifest | None:
        """What this attempt has decided, or None; conflict when another one decided."""
        check_run_id(draft.run_id)
        decision = self._log.decision(draft.run_id)
        if decision is None:
            return None
        if isinstance(decision, Manifest) and decision.staging == draft.staging:
            return decision
        raise conflict(decision)

    def decide(self, draft: Manifest, reprocess: bool) -> Manifest:
        """Decide unless the attempt was taken back; see ``Lake.commit`` for what it raises."""
        with deciding(self._storage, draft.staging) as may:
            if may:
                return self._decide(draft, reprocess)
        decided = self.decided(draft)
        if decided is not None:
            return decided
        raise IntegrityError(
            f"run {draft.run_id}: {draft.staging} was taken back, by who began it or by a sweep, "
            "before it was committed; nothing was committed: run it again"
        )

    def _decide(self, draft: Manifest, reprocess: bool) -> Manifest:
        staged = list(self._storage.list(draft.staging))
        commits = self._log.load()
        problems = count_problems(draft) or staging_problems(staged, commits, draft)
        if problems:
            # Another worker with the same attempt may have decided, and moved the files, just now.
            decided = self.decided(draft)
            if decided is not None:
                return decided
            raise IntegrityError(
                f"run {draft.run_id}: {'; '.join(problems)}; nothing was committed"
            )
        _check_partitions_of(commits, draft)
        self._storage.sync(f"{draft.staging}/{f.staged}" for f in draft.all_files)
        retires = draft.kind in ("create", "overwrite")
        checks_inputs = draft.kind == "append" and not reprocess
        if retires:
            # Asked again below, when it is certain; most who have to give up need no claim for it.
            self._check_replaces(draft, self._snapshot())
        epoch = self._log.claim(draft.run_id, "epoch") if retires else 0
        if checks_inputs and (draft.inputs or draft.replayed):
            self._log.claim(draft.run_id, "inputs", lambda: self._check_unread(draft))
        elif retires and draft.inputs:
            self._log.claim(draft.run_id, "inputs")
        if retires:
            snapshot = self._snapshot()
            self._check_replaces(draft, snapshot)
            decided = self.decided(draft)
            if decided is not None:
                return decided
            if draft.kind == "create" and snapshot.files:
                raise LakeConflictError(
                    f"the lake was empty when run {draft.run_id} began, and now holds "
                    f"{snapshot.rows:,} rows of {snapshot.runs[-1].run_id}: add to it with "
                    "--if_exists append"
                )
            draft = msgspec.structs.replace(
                draft,
                epoch=epoch,
                retired=tuple(f.path for f in snapshot.files),
                replaces=tuple(m.run_id for m in snapshot.runs),
            )
        return self._log.decide(draft)

    def _check_unread(self, draft: Manifest) -> None:
        # Not published first: a claim is held for a moment only. Nor are our own inputs read by
        # another run: who decided this one is told when we try to.
        commits = self._log.load()
        _check_partitions_of(commits, draft)
        check_not_replayed(self._storage, draft, commits)
        left = {i.path for i in unread_inputs(draft.inputs, commits, but=draft.run_id)}
        again = [i.path for i in draft.inputs if i.path not in left]
        if again:
            raise LakeConflictError(
                f"{again[0]}{f' and {len(again) - 1} more' if again[1:] else ''} was taken into "
                f"the lake by another run while run {draft.run_id} read it: run again, what is in "
                "the lake already is not read twice (--reprocess reads it all the same)"
            )

    def _check_replaces(self, draft: Manifest, snapshot: Snapshot) -> None:
        if draft.kind != "overwrite" or draft.rows or not snapshot.files:
            return
        kept = f"the {snapshot.rows:,} rows of {self._storage.root}: nothing was changed"
        if draft.rows_rejected:
            reasons = ", ".join(f"{n:,} {why}" for why, n in draft.rejected_by_reason.items())
            raise TooManyRejectedError(
                f"all {draft.rows_rejected:,} rows that were read were rejected ({reasons}), so "
                f"there is none to replace {kept}; mend the input"
            )
        raise LakeExistsError(
            f"no row was read to replace {kept}; delete the folder to empty the lake"
        )


def unread_inputs(
    inputs: Iterable[InputT], commits: Commits, *, but: str | None = None
) -> list[InputT]:
    """Those of the inputs that no commit took in, unless it is that of the run ``but``.

    Raises ``UsageError`` for one that has changed since.
    """
    unread, changed = commits.unread_and_changed(inputs, but=but)
    if changed:
        more = f" (and {len(changed) - 1} more like it)" if changed[1:] else ""
        raise UsageError(
            f"{changed[0][0].path} was taken into the lake by run {changed[0][1]} and has changed "
            f"since{more}: its rows would be there twice; put new rows into files of their own, or "
            "--reprocess reads all of it again"
        )
    return unread


def _check_partitions_of(commits: Commits, draft: Manifest) -> None:
    # An overwrite, or the first append of another, may have come since the run was prepared.
    if draft.kind == "append" and draft.files:
        check_partitions(commits, draft.partition_by)


def check_partitions(commits: Commits, asked: tuple[str, ...]) -> None:
    """Raise ``UsageError`` when live files are partitioned otherwise than ``asked``."""
    for of_run in commits.live:
        if of_run.partition_by != asked:
            there = ",".join(of_run.partition_by) or "none"
            raise UsageError(
                f"--partition_by {','.join(asked) or 'none'}: the lake is partitioned by {there}; "
                f"append with --partition_by {there}, or overwrite it"
            )
