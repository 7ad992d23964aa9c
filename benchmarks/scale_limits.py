"""Published limits of Google's services that ``celes_beam.plan`` has no use for, with sources."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated

import msgspec

More = Annotated[float, msgspec.Meta(gt=0)]
FILE = Path(__file__).with_suffix(".toml")


class Limit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """So much of something that a service takes, and the page that says so."""

    name: str
    value: More
    unit: str
    what: str
    source: str


class Supposed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is published nowhere; see the file."""

    request_seconds: More
    request_cpu_seconds: More
    cores_of_vcpu: More
    pace_of_core: More
    python_share: More


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of a file."""

    known_on: date
    limits: tuple[Limit, ...]
    supposed: Supposed

    @property
    def by_name(self) -> Mapping[str, Limit]:
        """The limits by their names."""
        return {limit.name: limit for limit in self.limits}

    @property
    def note(self) -> str:
        """What has to be said beside every share of a limit."""
        return f"limits as known from memory on {self.known_on}: check them on the pages named"


def read_limits(path: Path = FILE) -> Limits:
    """Read a file of limits. Raises ``msgspec.ValidationError`` naming the field that is wrong."""
    return msgspec.toml.decode(path.read_bytes(), type=Limits)
