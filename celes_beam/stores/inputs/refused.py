"""Files that are no input, though they lie where inputs are looked for: a lake's, the output's."""

from __future__ import annotations

import os
from pathlib import Path

from celes_beam.errors import InputError
from celes_beam.stores.cloud.clients import GCS_SCHEME
from celes_beam.stores.inputs.globs import HIDDEN

LAKE_MARK = "_commits"
"""The folder that makes the one it is in a lake; see ``stores/lake/commit.py``."""


class Refusals:
    """Refuses files that are below the folder ``outside``, and local ones that are in a lake.

    What is listed in a bucket is checked for lakes as it is listed (``gcs_files``). To read a lake
    would count its rows twice, along with the files they came from.
    """

    def __init__(self, outside: str | None) -> None:
        in_bucket = outside is not None and outside.startswith(GCS_SCHEME)
        self._gcs_outside = outside.rstrip("/") if outside and in_bucket else None
        local = None if self._gcs_outside else outside
        self._outside = None if local is None else Path(os.path.realpath(local))
        self._lakes: dict[Path, Path | None] = {}

    def check_folder(self, pattern: str, folder: str) -> None:
        """Raise ``InputError`` when the output is in a folder that is searched for inputs.

        ``folder`` ends with a slash. What it would be refused for is there only after a first run.
        """
        outside = f"{self._gcs_outside or self._outside or ''}/"
        inside = outside.removeprefix(folder)
        if not inside or inside == outside or any(p[:1] in HIDDEN for p in inside.split("/")):
            return
        raise InputError(
            f"--input {pattern}: the output {outside.rstrip('/')} is inside it, and not hidden by "
            "a name with _ in front: the next run would take it for input; give an --output beside "
            "it"
        )

    def check(self, pattern: str, path: Path) -> None:
        """Raise ``InputError`` when the file with this real path is no input."""
        if self._outside is not None and path.is_relative_to(self._outside):
            raise _in_output(pattern, path, self._outside)
        lake = self._lake_of(path.parent)
        if lake is not None:
            raise a_lake(pattern, lake)

    def check_object(self, pattern: str, url: str) -> None:
        """Raise ``InputError`` when the object at ``gs://BUCKET/NAME`` is no input."""
        if self._gcs_outside is not None and url.startswith(f"{self._gcs_outside}/"):
            raise _in_output(pattern, url, self._gcs_outside)

    def _lake_of(self, folder: Path) -> Path | None:
        """The innermost lake that a folder is, or is in."""
        if folder not in self._lakes:
            if (folder / LAKE_MARK).is_dir():
                self._lakes[folder] = folder
            else:
                above = folder.parent
                self._lakes[folder] = None if above == folder else self._lake_of(above)
        return self._lakes[folder]


def _in_output(pattern: str, path: Path | str, output: Path | str) -> InputError:
    return InputError(
        f"--input {pattern}: {path} is in the output {output}; give an input that is not, or "
        "another --output"
    )


def a_lake(pattern: str, lake: Path | str) -> InputError:
    """Make the error of a folder that is a lake."""
    copy = "gcloud storage cp -r" if str(lake).startswith(GCS_SCHEME) else "cp -r"
    return InputError(
        f"--input {pattern}: {lake} is a lake: its rows came from files that were read already; "
        "give those files, or a folder without a lake in it; to copy a lake, copy its folder while "
        f"nothing writes to it ({copy} {lake} COPY)"
    )
