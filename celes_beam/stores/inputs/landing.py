"""Where new files arrive: which of them are there as a whole, and which are still being written."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from celes_beam.stores.cloud.clients import GCS_SCHEME
from celes_beam.stores.inputs.files import InputFile, LeaveOut, list_landing

_QUIET_SECONDS = 10.0
_NANOSECONDS = 1_000_000_000


@dataclass(frozen=True)
class Look:
    """The files that were whole at a look, sorted, and how many others were there."""

    whole: tuple[InputFile, ...]
    unfinished: int


class Landing:
    """Looks at paths, folders and globs again and again; see ``list_landing`` for what they name.

    ``seconds`` is the time between looks. A file must be quiet that long, but no longer than ten
    seconds.
    """

    def __init__(self, patterns: Sequence[str], outside: str | None, seconds: float) -> None:
        self._patterns = patterns
        self._outside = outside
        self._quiet_seconds = min(max(seconds, 1.0), _QUIET_SECONDS)
        self._before: dict[str, InputFile] = {}

    def look(self, leave_out: LeaveOut) -> Look:
        """List what is there now; ``leave_out`` is told of files that cannot be read.

        Raises ``InputError`` when the folder or the bucket is not there, or holds a lake, and
        ``StorageError`` when the disk or the bucket fails.
        """
        # A file that is written to after this moment is younger, and so not quiet.
        now = time.time()
        found = list_landing(self._patterns, self._outside, leave_out)
        whole = tuple(f for f in found if is_whole(f, self._before, now, self._quiet_seconds))
        self._before = {f.path: f for f in found}
        return Look(whole, len(found) - len(whole))


def is_whole(
    file: InputFile, before: Mapping[str, InputFile], now: float, quiet_seconds: float
) -> bool:
    """Whether nobody seems to write to a file any more.

    An object in Cloud Storage is whole once it is there. A local file is when the look ``before``
    saw the same size and time of change, and that is ``quiet_seconds`` before ``now`` (seconds
    since 1970). A time to come is no measure: clocks differ, and copies can bring any time along.
    """
    if file.path.startswith(GCS_SCHEME):
        return True
    age = now - int(file.version) / _NANOSECONDS
    return before.get(file.path) == file and not 0 <= age < quiet_seconds
