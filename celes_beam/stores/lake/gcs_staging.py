"""The staging area of a lake in a bucket: files are written here, and uploaded once finished."""

from __future__ import annotations

import hashlib
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from celes_beam.stores.cloud.deliver import deliver_file
from celes_beam.stores.lake.manifest import STAGED
from celes_beam.stores.lake.staging_area import write_failed

_PREFIX = "celes-"
_STALE_SECONDS = 86_400.0


@dataclass(frozen=True)
class GcsStagingArea:
    """Uploads to ``gs://bucket/prefix/…`` from a temporary folder of whatever machine it is on.

    ``attempt`` is in their names; nothing stays there that was delivered or abandoned.
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
        """A new file of our own in the temporary folder, which others may not read."""
        path = self._path(name)
        try:
            path.touch(0o600, exist_ok=False)
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
        """Delete a file here."""
        with suppress(OSError):
            self._path(name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        # One flat name: a folder that one thread leaves empty is one that another is about to use.
        short = hashlib.blake2b(name.encode(), digest_size=16).hexdigest()
        return Path(tempfile.gettempdir(), f"{_PREFIX}{self.attempt}-{short}{STAGED}")


def sweep_left_behind(at: float) -> None:
    """Delete files that killed processes left in the temporary folder, a day old at ``at``."""
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*{STAGED}"):
        with suppress(OSError):
            if path.stat().st_mtime < at - _STALE_SECONDS:
                path.unlink()
