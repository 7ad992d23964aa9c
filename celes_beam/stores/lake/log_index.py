"""The file that says what the oldest commits of a lake say, so that few of them have to be read.

It repeats what never changes, so it may be missing, and one that is damaged is passed by. It begins
with a line of fixed length, then comes the head (JSON), then sections, each packed by itself, for
most who look need one of them only. Decisions stand there as they stand in their own files.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import google_crc32c
import msgspec
import pyarrow as pa

from celes_beam.errors import IntegrityError
from celes_beam.stores.lake.manifest import DataFile, Decision, Manifest, decode_lines

if TYPE_CHECKING:
    from celes_beam.stores.lake.commits import Commits

FORMAT = 1
_FIRST_LINE = b"celes-index %04d %08x %010d\n"
_FIRST_BYTES = len(_FIRST_LINE % (0, 0, 0))
_CODEC = "zstd"

Order = tuple[int, bool, str, str]
Row = TypeVar("Row")


class IndexedInput(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Of an input what the ledger of inputs compares; see ``InputRecord``."""

    path: str
    size: int
    version: str
    is_barren: bool = False

    @property
    def key(self) -> tuple[str, int, str]:
        """What identifies its content."""
        return self.path, self.size, self.version


class RunInputs(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The inputs of a run, and whether an overwrite has replaced it."""

    run_id: str
    replaced: bool
    inputs: tuple[IndexedInput, ...]


class RunFiles(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Those files of a run that are live, and what it was partitioned by."""

    run_id: str
    partition_by: tuple[str, ...]
    files: tuple[DataFile, ...]


class _Section(msgspec.Struct, frozen=True, array_like=True, gc=False):
    packed: int
    size: int
    crc32c: int


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """What an index says in short.

    ``number`` is the last segment that it is of, ``pending`` the runs announced until then of which
    it says nothing. ``last`` is the place of its last commit in the order of ``Commits``, ``epoch``
    the newest, ``overwritten`` that of the newest overwrite, ``claimed`` claims that were there.
    """

    number: int
    pending: tuple[str, ...]
    last: Order
    epoch: int
    overwritten: int
    claimed: dict[str, int]
    sections: dict[str, _Section]
    decisions: tuple[_Section, ...]


class Index:
    """An index that was read. Raises ``IntegrityError`` when it is damaged, or of another form."""

    def __init__(self, data: bytes, name: str) -> None:
        self.name = name
        self._data = data
        self.head, start = _head(data, name)
        self._sections: dict[str, tuple[int, _Section]] = {}
        self._decisions: list[tuple[int, _Section]] = []
        for key, section in self.head.sections.items():
            self._sections[key] = start, section
            start += section.packed
        for section in self.head.decisions:
            self._decisions.append((start, section))
            start += section.packed
        if start != len(data):
            raise _damaged(name, f"{len(data):,} bytes, expected {start:,}")
        for at, section in (*self._sections.values(), *self._decisions):
            if google_crc32c.value(data[at : at + section.packed]) != section.crc32c:
                raise _damaged(name, "a section has another checksum")

    @property
    def pieces(self) -> list[tuple[bytes, _Section]]:
        """The packed decisions, to be taken over by the next index."""
        return [(self._data[at : at + s.packed], s) for at, s in self._decisions]

    def decisions(self) -> list[Decision]:
        """All decisions, in no order; this takes time and memory."""
        found: list[Decision] = []
        for at, section in self._decisions:
            found += decode_lines(self._unpacked(at, section), self.name)
        return found

    @cached_property
    def run_ids(self) -> frozenset[str]:
        """All runs that are decided, also those that were superseded."""
        return frozenset(self._rows("run_ids", str))

    @cached_property
    def inputs(self) -> tuple[RunInputs, ...]:
        """The inputs of all commits that have any, in order."""
        return self._rows("inputs", RunInputs)

    @cached_property
    def live(self) -> tuple[RunFiles, ...]:
        """The files that no commit of the index retired, in order."""
        return self._rows("live", RunFiles)

    @cached_property
    def retired(self) -> tuple[str, ...]:
        """The paths that commits retired."""
        return self._rows("retired", str)

    @cached_property
    def replays(self) -> tuple[Manifest, ...]:
        """The commits that replayed rejected rows, in order."""
        return self._rows("replays", Manifest)

    def _rows(self, key: str, kind: type[Row]) -> tuple[Row, ...]:
        data = self._unpacked(*self._sections[key])
        rows: tuple[Row, ...] = msgspec.msgpack.decode(data, type=tuple[kind, ...])  # type: ignore[valid-type]
        return rows

    def _unpacked(self, at: int, section: _Section) -> bytes:
        packed = self._data[at : at + section.packed]
        unpacked: bytes = pa.decompress(packed, section.size, codec=_CODEC, asbytes=True)
        return unpacked


def inputs_after(base: Sequence[RunInputs], manifests: Sequence[Manifest]) -> list[RunInputs]:
    """The inputs of commits and of those after them."""
    replaced = {run_id for m in manifests for run_id in m.replaces}
    before = (
        [RunInputs(r.run_id, True, r.inputs) if r.run_id in replaced else r for r in base]
        if replaced
        else list(base)
    )
    return before + [
        RunInputs(
            m.run_id,
            m.run_id in replaced,
            tuple(IndexedInput(i.path, i.size, i.version, i.is_barren) for i in m.inputs),
        )
        for m in manifests
        if m.inputs
    ]


def live_after(base: Sequence[RunFiles], manifests: Sequence[Manifest]) -> list[RunFiles]:
    """The live files of commits and of those after them."""
    retired = {path for m in manifests for path in m.retired}
    added = [RunFiles(m.run_id, m.partition_by, m.files) for m in manifests if m.files]
    if not retired:
        return [*base, *added]
    return [
        of_run
        if len(kept) == len(of_run.files)
        else RunFiles(of_run.run_id, of_run.partition_by, kept)
        for of_run in (*base, *added)
        if (kept := tuple(f for f in of_run.files if f.path not in retired))
    ]


def encode_index(
    number: int,
    commits: Commits,
    *,
    decided: Iterable[Sequence[bytes]],
    pending: Sequence[str],
    claimed: dict[str, int],
) -> bytes:
    """The index that says what ``commits`` say.

    ``decided`` are the decisions that no index had before, as they stand in their files, some at a
    time.
    """
    pieces = commits.index.pieces if commits.index is not None else []
    for some in decided:
        pieces.append(_pack(b"\n".join(msgspec.json.format(data, indent=-1) for data in some)))
    rows: dict[str, Any] = {
        "run_ids": sorted(commits.run_ids),
        "inputs": commits.inputs,
        "live": commits.live,
        "retired": sorted(commits.retired),
        "replays": commits.replays,
    }
    sections = {key: _pack(msgspec.msgpack.encode(some)) for key, some in rows.items()}
    head = msgspec.json.encode(
        Head(
            number=number,
            pending=tuple(pending),
            last=commits.last,
            epoch=commits.epoch,
            overwritten=commits.overwritten,
            claimed=claimed,
            sections={key: section for key, (_, section) in sections.items()},
            decisions=tuple(section for _, section in pieces),
        )
    )
    first = _FIRST_LINE % (FORMAT, google_crc32c.value(head), len(head))
    return b"".join([first, head, *(d for d, _ in sections.values()), *(d for d, _ in pieces)])


def _pack(data: bytes) -> tuple[bytes, _Section]:
    packed: bytes = pa.compress(data, codec=_CODEC, asbytes=True)
    return packed, _Section(len(packed), len(data), google_crc32c.value(packed))


def _head(data: bytes, name: str) -> tuple[Head, int]:
    parts = data[:_FIRST_BYTES].split()
    if len(data) < _FIRST_BYTES or len(parts) != 4 or parts[0] != b"celes-index":
        raise _damaged(name, "it does not begin as an index does")
    try:
        form, crc32c, length = int(parts[1]), int(parts[2], 16), int(parts[3])
    except ValueError as error:
        raise _damaged(name, str(error)) from error
    if form != FORMAT:
        raise _damaged(name, f"it is of form {form}, expected {FORMAT}")
    head = data[_FIRST_BYTES : _FIRST_BYTES + length]
    if google_crc32c.value(head) != crc32c:
        raise _damaged(name, "its head has another checksum")
    try:
        return msgspec.json.decode(head, type=Head), _FIRST_BYTES + length
    except msgspec.DecodeError as error:
        raise _damaged(name, str(error)) from error


def _damaged(name: str, why: str) -> IntegrityError:
    return IntegrityError(f"{name} is not an index of this version: {why}; delete it")
