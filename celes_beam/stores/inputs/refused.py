"""Files that are no input, though they lie where inputs are looked for: a lake's, the output's."""

from __future__ import annotations

import os
from pathlib import Path

from celes_beam.errors import InputError

LAKE_MARK = "_commits"
"""The folder that makes the one it is in a lake; see ``stores/lake/commit.py``."""


class Refusals:
    """Refuses local files that are in a lake, or below the folder ``outside``.

    To read a lake would count its rows twice, along with the files they came from.
    """

    def __init__(self, outside: str | None) -> None:
        self._outside = None if outside is None else Path(os.path.realpath(outside))
        self._lakes: dict[Path, Path | None] = {}

    def check(self, pattern: str, path: Path) -> None:
        """Raise ``InputError`` when the file with this real path is no input."""
        if self._outside is not None and path.is_relative_to(self._outside):
            raise InputError(
                f"--input {pattern}: {path} is in the output {self._outside}; give an input that "
                "is not, or another --output"
            )
        lake = self._lake_of(path.parent)
        if lake is not None:
            raise a_lake(pattern, lake)

    def _lake_of(self, folder: Path) -> Path | None:
        """The innermost lake that a folder is, or is in."""
        if folder not in self._lakes:
            if (folder / LAKE_MARK).is_dir():
                self._lakes[folder] = folder
            else:
                above = folder.parent
                self._lakes[folder] = None if above == folder else self._lake_of(above)
        return self._lakes[folder]


def a_lake(pattern: str, lake: Path) -> InputError:
    """Make the error of a folder that is a lake."""
    return InputError(
        f"--input {pattern}: {lake} is a lake: its rows came from files that were read already; "
        "give those files, or a folder without a lake in it; to copy a lake, copy its folder while "
        f"nothing writes to it (cp -r {lake} COPY)"
    )
