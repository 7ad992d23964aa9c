"""What ``celes-beam compare`` found, in the shape of ``comparison.json``: engines side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from celes_beam.errors import InputError
from celes_beam.stores.results.results import Result

State = Literal["ok", "skipped", "failed", "differs"]
"""``skipped``: not installed here; ``failed``: ended without a result; ``differs``: its result is
not equal to that of the engine it was held against."""

Seconds = Annotated[float, msgspec.Meta(ge=0)]
Megabytes = Annotated[float, msgspec.Meta(ge=0)]


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What it was measured on: never a name, only what speed depends on.

    ``memory_gb`` in units of 10**9 bytes; ``versions`` pairs programs with their versions.
    """

    cores: Annotated[int, msgspec.Meta(ge=1)]
    memory_gb: Annotated[float, msgspec.Meta(ge=0)]
    python: str
    system: str = ""
    versions: dict[str, str] = {}


class EngineRun(msgspec.Struct, frozen=True, kw_only=True):
    """One engine on a data set of ``rows`` rows, as many times as there were rounds.

    ``seconds`` is the work of each round, without ``startup_seconds`` (interpreter, imports,
    session, cluster); ``peak_mb`` the peak memory of the whole process tree of each round, in units
    of 10**6 bytes; ``bytes_read`` is ``None`` where it cannot be told. ``why`` says in one line why
    a run was skipped (with its install line), failed or differs.
    """

    engine: str
    rows: Annotated[int, msgspec.Meta(ge=0)]
    state: State
    version: str = ""
    why: str = ""
    seconds: tuple[Seconds, ...] = ()
    startup_seconds: tuple[Seconds, ...] = ()
    peak_mb: tuple[Megabytes, ...] = ()
    bytes_read: int | None = None
    result: Result | None = None


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One figure in which the result of ``engine`` is not equal to that of ``against``.

    ``table`` is "whole" or a field of ``Result``, ``key`` the category, region or place in it.
    A figure that one of them lacks is ``None``. ``rows`` is the size of the data set.
    """

    engine: str
    against: str
    table: str
    key: str
    column: str
    value: str | int | None
    expected: str | int | None
    rows: int | None = None


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """All runs of a comparison, in the order they were asked for, smaller data sets first.

    ``input`` is the lake, or says what was generated; ``started_at`` is ISO 8601 in UTC.
    ``agree`` is whether all results there are, are equal.
    """

    machine: Machine
    rounds: Annotated[int, msgspec.Meta(ge=1)]
    input: str
    agree: bool
    runs: tuple[EngineRun, ...]
    differences: tuple[Difference, ...] = ()
    started_at: str = ""

    @property
    def sizes(self) -> tuple[int, ...]:
        """The numbers of rows that were run, smallest first."""
        return tuple(sorted({run.rows for run in self.runs}))


def encode_comparison(comparison: Comparison) -> bytes:
    """Write a comparison as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(comparison), indent=2) + b"\n"


def decode_comparison(data: bytes, name: str) -> Comparison:
    """Read a comparison. Raises ``InputError`` naming ``name`` and the place that is wrong."""
    try:
        return msgspec.json.decode(data, type=Comparison)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(
            f"{name} is not a comparison of this version: {error}; write it with celes-beam compare"
        ) from error


def read_comparison(path: str) -> Comparison:
    """Read ``comparison.json``. Raises ``InputError`` when it is not there, or not one."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise InputError(
            f"--comparison {path} cannot be read: {error.strerror}; name a file that celes-beam "
            "compare wrote"
        ) from error
    return decode_comparison(data, path)
