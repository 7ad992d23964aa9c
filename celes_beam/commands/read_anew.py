"""A lake that changes while it is read: what a compaction has merged is gone."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from celes_beam.stores.lake.lake_input import LakeInput

TIMES = 3
"""Who compacts all the time would be in the way all the time."""

_LOGGER = logging.getLogger(__name__)
Result = TypeVar("Result")


def read_anew(
    found: LakeInput, find: Callable[[], LakeInput], read: Callable[[LakeInput], Result]
) -> Result:
    """Read what was found in a lake; if that fails, and files of it were replaced, what is now.

    ``find`` looks again. Raises what ``read`` does when nothing was replaced, or the third time, or
    in a plain folder, where nobody says that what is gone is in another file.
    """
    left = TIMES
    while True:
        left -= 1
        try:
            return read(found)
        except Exception:
            if not left or found.rows is None:
                raise
            now = find()
            if {f.name for f in found.files} <= {f.name for f in now.files}:
                raise
            _LOGGER.warning("%s: files were replaced while they were read: begun anew", found.root)
            found = now
