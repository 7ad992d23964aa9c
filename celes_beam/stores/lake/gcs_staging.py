"""The staging area of a lake in a bucket: files are written here, and uploaded once finished."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from celes_beam.stores.cloud.deliver import deliver_file
from celes_beam.stores.lake.staging_area import write_failed


@dataclass(frozen=True)
class GcsStagingArea:
    """Uploads to ``gs://bucket/prefix/…`` from a temporary folder of whatever machine it is on.

    ``attempt`` names that folder; nothing stays in it that was delivered or abandoned.
    """

    bucket: str
    prefix: str
    attempt: str

    @property
    def at_once(self) -> int:
        """Uploads mostly wait for the network."""
        return 4

    @property
    def remedy(self) -> str:
        """What helps when the disk refuses."""
        return f"free some room in {tempfile.gettempdir()}, or set TMPDIR to another folder"

    def path(self, name: str) -> Path:
        """A path in the temporary folder; the folders down to it are there then."""
        path = self._path(name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise write_failed(path, error, self.remedy) from error
        return path

    def deliver(self, name: str, *, size: int, crc32c: str) -> None:
        """Upload a file, and delete it here whatever comes of that."""
        try:
            deliver_file(self._path(name), self.bucket, f"{self.prefix}/{name}", crc32c=crc32c)
        finally:
            self.abandon(name)

    def abandon(self, name: str) -> None:
        """Delete a file here, and the folders that leaves empty."""
        path = self._path(name)
        with suppress(OSError):
            path.unlink(missing_ok=True)
            root = Path(tempfile.gettempdir())
            for folder in path.parents:
                if folder == root:
                    break
                folder.rmdir()

    def _path(self, name: str) -> Path:
        return Path(tempfile.gettempdir(), f"celes-{self.attempt}", name)
