"""A file of a lake, as a listing tells of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StoredFile:
    """A file by name, with its size in bytes and its time of change in seconds since 1970.

    ``crc32c`` is its checksum in base64, where a listing tells it.
    """

    name: str
    size: int
    modified: float
    crc32c: str | None = None
