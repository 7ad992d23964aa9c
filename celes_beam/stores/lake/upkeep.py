"""What a lake needs now and then: old staging goes, and what nobody knows of is found."""

from __future__ import annotations

import math
import time

from celes_beam.stores.lake.commit import COMMITS, STAGING, CommitLog
from celes_beam.stores.lake.commits import Commits
from celes_beam.stores.lake.deciding import may_take_back
from celes_beam.stores.lake.segments import INDEXES
from celes_beam.stores.lake.storage import Storage
from celes_beam.stores.lake.stored import StoredFile

STALE_SECONDS = 86_400.0
"""Staging without a decision is swept when nothing in it changed for this long."""
LOOK_AGAIN_SECONDS = 3600.0
"""One process looks for files that no commit made this rarely: that lists the whole lake."""
_STRANGERS_NAMED = 3


class Upkeep:
    """The upkeep of one lake, by one process."""

    def __init__(self, storage: Storage, log: CommitLog) -> None:
        self._storage = storage
        self._log = log
        self._look_again_at = -math.inf

    def sweep(self, commits: Commits, at: float) -> list[str]:
        """Delete staging that nobody needs any more, by the seconds ``at``; returns its folders."""
        self._storage.tidy(COMMITS)
        under_way = {m.run_id for m in commits.undone}
        newest: dict[str, float] = {}
        for file in self._storage.list(STAGING):
            folder = "/".join(file.name.split("/")[:3])
            newest[folder] = max(newest.get(folder, 0.0), file.modified)
        swept = []
        for folder, modified in newest.items():
            run_id = folder.split("/")[1]
            if run_id in under_way:
                continue
            is_stale = modified < at - STALE_SECONDS and self._is_left(run_id, folder, at)
            if is_stale or self._log.is_over(run_id):
                self._storage.delete_folder(folder)
                swept.append(folder)
        return swept

    def _is_left(self, run_id: str, folder: str, at: float) -> bool:
        """Whether stale staging is so still: after a long sleep its run may go on just now."""
        if not may_take_back(self._storage, folder):
            return False
        newest = max((f.modified for f in self._storage.list(folder)), default=0.0)
        return newest < at - STALE_SECONDS and self._log.decision(run_id) is None

    def look_around(self, commits: Commits, most: int) -> tuple[list[StoredFile], list[str]]:
        """Visible files up to the last of ``most`` strangers: those, and the retired ones."""
        found: list[StoredFile] = []
        back: list[str] = []
        live = frozenset(f.path for of_run in commits.live for f in of_run.files)
        for file in self._storage.list(hidden=False):
            if len(found) == most:
                break
            if file.name in live:
                continue
            if file.name in commits.retired:
                back.append(file.name)
                continue
            # It may have been decided since; what is visible always was decided before.
            if not self._log.load().made_among([file.name]):
                found.append(file)
        return found, back

    def look_around_rarely(self, commits: Commits) -> tuple[list[StoredFile], list[str]]:
        """As ``look_around``, and nothing when the last look found none less than an hour ago."""
        # It lists the whole lake: a watch would do so for every commit, and ever longer.
        if time.monotonic() < self._look_again_at:
            return [], []
        found = self.look_around(commits, _STRANGERS_NAMED)
        if not found[0]:
            self._look_again_at = time.monotonic() + LOOK_AGAIN_SECONDS
        return found

    def index_problems(self) -> list[str]:
        """How the index of commits does not say what they say, by reading every one."""
        found, index = self._log.load(), f"{self._storage.root}/{INDEXES}"
        if found.index is None:
            return []
        # Read afterwards: what was decided meanwhile is no problem.
        whole = {m.run_id: m for m in self._log.load_all().manifests}
        missing = [m.run_id for m in found.manifests if whole.get(m.run_id) != m]
        known = found.run_ids | self._log.load().run_ids
        unknown = sorted(whole.keys() - known)
        remedy = f"when no run is going on, delete {index}, which is made again"
        return [
            f"commit {run_id} is not what {index} says it is, or is gone: {remedy}"
            for run_id in missing
        ] + [f"commit {run_id} is not in {index}: {remedy}" for run_id in unknown]
