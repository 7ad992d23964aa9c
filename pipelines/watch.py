"""New files as they arrive: looks again and again, and one commit for all that a look finds.

What is in a commit is known by the ledger of the lake alone, so a watch that was killed goes on
where it stopped: nothing is lost, and nothing is read twice.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime

from celes_beam.commands.batch_options import BatchOptions
from celes_beam.commands.command_line import explain, our_error, part_of_command
from celes_beam.commands.stop_request import StopRequest
from celes_beam.commands.summary import RunSummary
from celes_beam.commands.watch_options import WatchOptions
from celes_beam.commands.watch_summary import WatchSummary
from celes_beam.errors import CelesError, InputError, LakeConflictError, StorageError, UsageError
from celes_beam.stores.inputs.files import InputFile
from celes_beam.stores.inputs.landing import Landing
from celes_beam.stores.lake.lake import Lake

_LOGGER = logging.getLogger(__name__)
_LONGEST_PAUSE = 600.0
_MOST_DOUBLINGS = 60
_SECOND_LOOK = 2.0
"""The first look finds no whole local file; the second one does not wait for long."""

RunRound = Callable[[BatchOptions, Sequence[InputFile]], RunSummary]
OnCommit = Callable[[WatchSummary, RunSummary], object]


class Watch:
    """Looks for new files and takes them in, until it is asked to stop or comes to a limit.

    ``run_round`` commits the files it is given; ``on_commit`` is told of each commit, and the sums
    so far. For one use.
    """

    def __init__(
        self,
        options: BatchOptions,
        how: WatchOptions,
        lake: Lake,
        run_round: RunRound,
        on_commit: OnCommit,
    ) -> None:
        self.summary = WatchSummary(options.output)
        self._options = options
        self._how = how
        self._lake = lake
        self._run_round = run_round
        self._on_commit = on_commit
        self._landing = Landing(options.inputs, options.output, how.seconds)
        self._taken: dict[str, InputFile] = {}
        self._changed: dict[str, str] = {}
        self._reported: dict[str, str] = {}
        self._idle = 0
        self._failures = 0
        self._began = False

    def run(self) -> WatchSummary:
        """Go on until the end.

        Faults of disks, buckets and other runs are reported, and tried again, more and more rarely,
        up to every ten minutes; so is what the caller could mend, once a round has gone well.
        Raises what such a fault was before that, or when the last round ends in it, and all other
        errors of a round at once: nothing of it is committed then.
        """
        fault: Exception | None = None
        with StopRequest() as stop:
            while True:
                self.summary.rounds += 1
                try:
                    with part_of_command():
                        self._round()
                except Exception as error:
                    if not self._may_pass(error):
                        raise
                    fault = error
                    self._failures += 1
                    self.summary.failed_rounds += 1
                    _LOGGER.warning("%s; tried again later", explain(error)[0])
                else:
                    fault, self._failures, self._began = None, 0, True
                if stop.asked or self._is_over():
                    break
                stop.wait(self._pause())
                if stop.asked:
                    break
        if fault is not None:
            raise fault
        return self.summary

    def _round(self) -> None:
        seen: dict[str, str] = {}
        look = self._landing.look(seen.setdefault)
        new = [f for f in look.whole if self._taken.get(f.path) != f]
        if new:
            new, changed = self._lake.unread_and_changed(look.whole)
            self._changed = {
                file.path: f"{file.path} was taken into the lake by run {run_id} and has changed "
                "since: it is not read again, for its rows would be there twice; put new rows into "
                "files of their own"
                for file, run_id in changed
            }
            unread = {f.path for f in new}
            self._taken = {f.path: f for f in look.whole if f.path not in unread}
        self._report(self._changed | seen)
        self._idle = 0 if new or look.unfinished else self._idle + 1
        # Without files, too: the first time, and after a fault, there may be work left undone.
        if not new and self._began and not self._failures:
            return
        options = self._next_run()
        try:
            run = self._run_round(options, new)
        except Exception:
            with suppress(CelesError):
                # What went wrong may have come after the commit.
                decided = self._lake.find(options.run_id)
                if decided is not None:
                    self._add(RunSummary(decided, options.output, decided.seconds, "committed"))
            raise
        if run.status == "committed":
            self._add(run)

    def _add(self, run: RunSummary) -> None:
        self.summary.add(run)
        self._on_commit(self.summary, run)

    def _report(self, seen: dict[str, str]) -> None:
        """Say what is wrong with files; once, as long as it stays so."""
        for path, why in seen.items():
            if self._reported.get(path) != why:
                _LOGGER.warning("left out: %s", why)
        self._reported = seen

    def _next_run(self) -> BatchOptions:
        now = datetime.now(UTC)
        # The start of the round bounds the dates that are accepted.
        rules = dataclasses.replace(self._options.rules, started=now)
        return dataclasses.replace(self._options, run_id=self._how.run_id(now), rules=rules)

    def _may_pass(self, error: Exception) -> bool:
        ours = our_error(error)
        if isinstance(ours, InputError) and not self._options.sets_aside:
            return False
        if isinstance(ours, UsageError):
            return self._began
        return isinstance(ours, (StorageError, LakeConflictError))

    def _is_over(self) -> bool:
        how = self._how
        rounds_done = how.rounds is not None and self.summary.rounds >= how.rounds
        idle = how.idle_rounds is not None and self._idle >= how.idle_rounds
        return rounds_done or (idle and not self._failures)

    def _pause(self) -> float:
        seconds = self._how.seconds
        if self.summary.rounds == 1 and not self._failures:
            return min(seconds, _SECOND_LOOK)
        # A week of faults would be too much for a float.
        doublings = min(self._failures, _MOST_DOUBLINGS)
        return min(seconds * 2.0**doublings, max(seconds, _LONGEST_PAUSE))
