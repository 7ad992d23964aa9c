"""A lake: a folder of Parquet files, and the commits that say which of them count."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Sequence

from celes_beam.errors import LakeConflictError, LakeExistsError, UsageError
from celes_beam.stores.lake.commit import (
    COMMITS,
    SEGMENT_COMMITS,
    STAGING,
    CommitLog,
    Patience,
    check_run_id,
    conflict,
    now,
)
from celes_beam.stores.lake.commits import Commits, InputT
from celes_beam.stores.lake.deciding import may_take_back, start
from celes_beam.stores.lake.decision import Decider, check_partitions, unread_inputs
from celes_beam.stores.lake.manifest import Manifest, Superseded
from celes_beam.stores.lake.publish import finish, publish
from celes_beam.stores.lake.snapshot import Snapshot, snapshot_of
from celes_beam.stores.lake.staging_area import each
from celes_beam.stores.lake.storage import Storage, open_storage
from celes_beam.stores.lake.stored import StoredFile
from celes_beam.stores.lake.upkeep import Upkeep

IF_EXISTS = ("error", "append", "overwrite")


class Lake:
    """One lake. Any number of processes may use it at once; see ``stores.commit``."""

    def __init__(
        self,
        storage: Storage,
        *,
        patience: Patience | None = None,
        segment_commits: int = SEGMENT_COMMITS,
    ) -> None:
        self.storage = storage
        self._log = CommitLog(storage, patience, segment_commits=segment_commits)
        self._upkeep = Upkeep(storage, self._log)
        self._decider = Decider(storage, self._log, self.snapshot)

    @classmethod
    def open(cls, root: str) -> Lake:
        """Open the lake in a folder, which need not be there yet."""
        return cls(open_storage(root))

    def prepare(
        self, *, run_id: str, if_exists: str, partition_by: Sequence[str] | None = None
    ) -> Manifest | None:
        """Make ready for a run: finish commits cut short, sweep old staging, check the mode.

        Returns the manifest when ``run_id`` has committed already: there is nothing to do. Raises
        ``LakeConflictError`` when another commit superseded it, ``LakeExistsError`` when the mode
        is "error" and the lake holds rows, or when the folder holds visible files that no commit
        made (looked for once an hour), and ``UsageError`` when an append is partitioned differently
        from the lake.
        """
        check_run_id(run_id)
        if if_exists not in IF_EXISTS:
            raise UsageError(f"--if_exists {if_exists}: expected one of {', '.join(IF_EXISTS)}")
        # Listed once: the more was committed, the longer this takes. What is decided meanwhile is
        # looked at again where it matters, at the latest by the commit.
        commits = self.commits()
        self._upkeep.sweep(commits, time.time())
        decision = self._log.decision(run_id)
        if isinstance(decision, Manifest):
            return decision
        if decision is not None:
            raise conflict(decision)
        strangers, back = self._upkeep.look_around_rarely(commits)
        if self.storage.moves_by_copy:
            # A process that was killed after a late copy of its own left them visible.
            each(self.storage.delete, back, at_once=self.storage.at_once)
        if strangers:
            named = ", ".join(s.name for s in strangers)
            raise LakeExistsError(
                f"{self.storage.root} holds files that no commit of this lake made ({named}): "
                "choose another folder, or move them away"
            )
        if if_exists == "error" and commits.live:
            raise LakeExistsError(
                f"{self.storage.root} already holds a lake of {snapshot_of(commits).rows:,} rows: "
                "add to it with --if_exists append, replace it with --if_exists overwrite (-f), or "
                "choose another folder"
            )
        if if_exists == "append" and partition_by is not None:
            check_partitions(commits, tuple(partition_by))
        return None

    def staging(self, run_id: str) -> str:
        """Make a new folder for one attempt of a run; its name is relative to the lake.

        Workers write to the ``storage.staging_area`` of it. It fails early where nobody may write.
        """
        check_run_id(run_id)
        folder = f"{STAGING}/{run_id}/{uuid.uuid4().hex}"
        self.storage.note_missing_root()
        start(self.storage, folder, now())
        return folder

    def discard(self, staging: str) -> bool:
        """Delete what one attempt staged, when it is not going to commit.

        Where there was no lake before, the folder that ``staging`` made for it goes, too. False,
        and all stays, when it was decided, or somebody may be deciding on it just now.
        """
        if not may_take_back(self.storage, staging) or self._decided_on(staging) is not None:
            return False
        self.storage.delete_folder(staging)
        self.storage.remove_new_root()
        return True

    def unread(self, inputs: Iterable[InputT]) -> list[InputT]:
        """Those of the inputs of an append that the ledger does not name, in their order.

        The ledger is the inputs of all commits since the last overwrite, that one's included.
        Raises ``UsageError`` for one that has changed since the lake took rows of it in: these
        would be there twice.
        """
        return unread_inputs(inputs, self._log.load())

    def unread_and_changed(
        self, inputs: Iterable[InputT]
    ) -> tuple[list[InputT], list[tuple[InputT, str]]]:
        """As ``unread``, and those that have changed apart, each with the run that took it in."""
        return self._log.load().unread_and_changed(inputs)

    def claim(self, run_id: str) -> tuple[int, Snapshot]:
        """Claim the right to retire files; returns the epoch and the files it may retire.

        Supersedes a run that claimed before and does not decide in a moment. Raises
        ``LakeConflictError`` when the run is decided already.
        """
        check_run_id(run_id)
        epoch = self._log.claim(run_id, "epoch")
        return epoch, self.snapshot()

    def commit(self, draft: Manifest, *, reprocess: bool = False) -> Manifest:
        """Decide and publish what an attempt staged; returns the manifest as decided.

        A draft of kind "create" or "overwrite" claims its epoch here; one of kind "compact" brings
        the epoch and the retired files of its own ``claim``. Raises ``IntegrityError`` when counts,
        sums or staged files do not agree, ``LakeConflictError`` when the run was decided by another
        process, superseded, or (unless ``reprocess``) an input of an append was taken in by another
        run meanwhile, and ``UsageError`` when it was in another version, or the lake has come to be
        partitioned differently from an append. An overwrite without rows
        does not replace rows: ``TooManyRejectedError`` or ``LakeExistsError``. Nothing is visible
        then; after a conflict what was staged is deleted. Asked again by the same attempt, it
        returns what was decided.
        """
        manifest = self.decide(draft, reprocess=reprocess)
        publish(self.storage, manifest)
        self._tidy()
        return manifest

    def decide(self, draft: Manifest, *, reprocess: bool = False) -> Manifest:
        """As ``commit``, but leave it to the caller to publish: see ``stores.publish``, ``finish``.

        When the caller does not, the next look at the lake does.
        """
        try:
            return self._decider.decided(draft) or self._decider.decide(draft, reprocess)
        except (LakeConflictError, UsageError):
            # Another worker with the same attempt may have decided since we looked.
            decided = self._decided_on(draft.staging)
            if decided is not None:
                return decided
            self.discard(draft.staging)
            raise

    def finish(self, manifest: Manifest) -> None:
        """Mark a decided commit as published, when all files are moved and retired."""
        finish(self.storage, manifest)
        self._tidy()

    def _tidy(self) -> None:
        self.storage.tidy(COMMITS)
        self._log.keep_index()

    def snapshot(self) -> Snapshot:
        """The files that count now; finishes commits that were cut short first."""
        return snapshot_of(self.commits())

    def commits(self) -> Commits:
        """All that has been decided; finishes commits that were cut short first."""
        commits = self._log.load()
        self._publish_undone(commits)
        return commits

    def runs(self) -> list[Manifest]:
        """All commits, each after those whose files it retires."""
        return list(self.commits().manifests)

    def took_in_from(self, folder: str) -> bool:
        """Whether an input whose path begins with ``folder`` was ever taken in."""
        inputs = self._log.load().inputs
        return any(i.path.startswith(folder) for run in inputs for i in run.inputs)

    def find(self, run_id: str) -> Manifest | None:
        """The commit of a run, or None."""
        decision = self._log.decision(run_id)
        return decision if isinstance(decision, Manifest) else None

    def check_not_superseded(self, run_id: str) -> None:
        """Raise ``LakeConflictError`` when another commit has superseded a run."""
        decision = self._log.decision(run_id)
        if isinstance(decision, Superseded):
            raise conflict(decision)

    def recover(self) -> list[str]:
        """Finish commits that were decided and cut short; returns their run ids."""
        commits = self._log.load()
        return [m.run_id for m in self._publish_undone(commits)]

    def sweep(self, at: float) -> list[str]:
        """Delete staging that nobody needs; returns its folders.

        That of published and superseded runs goes at once; that of undecided runs when nothing in
        it changed for a day before ``at`` (seconds since 1970); that of a commit in the middle of
        being published stays.
        """
        return self._upkeep.sweep(self._log.load(), at)

    def strangers(self, most: int) -> list[StoredFile]:
        """The first visible files, at most ``most``, that no commit made."""
        return self._upkeep.look_around(self._log.load(), most)[0]

    def index_problems(self) -> list[str]:
        """How the index of commits does not say what they say, by reading every one."""
        return self._upkeep.index_problems()

    def _decided_on(self, staging: str) -> Manifest | None:
        decided = self.find(staging.split("/")[1])
        return decided if decided is not None and decided.staging == staging else None

    def _publish_undone(self, commits: Commits) -> tuple[Manifest, ...]:
        for manifest in commits.undone:
            publish(self.storage, manifest)
        return commits.undone
