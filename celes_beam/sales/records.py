"""Records of delimited text: blocks of them, their bounds, and how one is split into fields."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from celes_beam.contract import MAX_RECORD_BYTES

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

LINE_FEED, RETURN, QUOTE = b'\n\r"'

# Compared in pieces that stay in a core's cache, bytes are counted at twice the speed.
_COUNTED_BYTES = 1 << 18
_LOOK_BYTES = 1 << 12


@dataclass(frozen=True)
class Block:
    """Whole records: the first ``size`` bytes of ``buffer``, the last of them a line feed."""

    buffer: bytes | bytearray
    size: int

    @classmethod
    def of(cls, records: bytes | bytearray | memoryview) -> Block:
        """Make a block of all of ``records``; a missing last line feed is added."""
        whole = records if isinstance(records, (bytes, bytearray)) else bytes(records)
        if whole and not whole.endswith(b"\n"):
            whole = whole + b"\n"
        return cls(whole, len(whole))

    def has(self, text: bytes) -> bool:
        """Say whether ``text`` stands anywhere in the block."""
        return self.buffer.find(text, 0, self.size) >= 0

    def starts_with(self, text: bytes) -> bool:
        """Say whether the block begins with ``text``."""
        return self.buffer.startswith(text, 0, self.size)

    @property
    def view(self) -> memoryview:
        """The bytes; no copy."""
        return memoryview(self.buffer)[: self.size]

    @property
    def data(self) -> Bytes:
        """The bytes as numpy integers; no copy."""
        return np.frombuffer(self.buffer, np.uint8, self.size)


def count_lines(data: Bytes) -> int:
    """Count the line feeds in ``data``."""
    return sum(
        int(np.count_nonzero(data[start : start + _COUNTED_BYTES] == LINE_FEED))
        for start in range(0, len(data), _COUNTED_BYTES)
    )


def has_pair(data: Bytes, first: int, second: int, *, fold: int = 0) -> bool:
    """Say whether two bytes stand side by side; ``fold`` is or-ed to what is the first of them.

    Several times as fast as looking for text.
    """
    # Each piece holds the first byte of the next one too.
    pieces = (data[at : at + _COUNTED_BYTES + 1] for at in range(0, len(data), _COUNTED_BYTES))
    return any(
        bool((((piece[:-1] | fold) == first) & (piece[1:] == second)).any()) for piece in pieces
    )


def has_small_exponent(data: Bytes) -> bool:
    """Say whether ``e-`` or ``E-`` stands anywhere, which is how negative exponents begin."""
    return has_pair(data, ord("e"), ord("-"), fold=0x20)


def line_ends(data: Bytes) -> Ints:
    """Return for each line feed the offset just past it."""
    return np.flatnonzero(data == LINE_FEED) + 1


def has_lone_return(data: Bytes) -> bool:
    """Say whether ``data``, which ends with a line feed, has a carriage return before none."""
    returns = np.flatnonzero(data == RETURN)
    return bool((data[returns + 1] != LINE_FEED).any())


def has_long_line(data: Bytes) -> bool:
    """Say whether a line may be longer than a record may be: false is certain, true is not."""
    half = MAX_RECORD_BYTES // 2
    # A longer line would cover one of these windows whole; nearly all end within a look.
    windows = (data[start : start + half] for start in range(0, len(data) - half + 1, half))
    return any(
        not (window[:_LOOK_BYTES] == LINE_FEED).any() and not (window == LINE_FEED).any()
        for window in windows
    )


@dataclass(frozen=True)
class Records:
    """The complete records at the beginning of some bytes.

    ``ends`` holds for each record the offset just past its line feed (int64, ascending); the first
    begins at 0. ``odd`` says which of them may hold quotes other than as RFC 4180 has them, or a
    carriage return that ends no line: those are to be split one by one, by ``split_record``.
    ``ambiguous`` says that some of them are not to be split by any other reader.
    """

    ends: Ints
    odd: Mask
    ambiguous: bool

    @property
    def starts(self) -> Ints:
        """Offset of the first byte of each record."""
        starts = np.empty_like(self.ends)
        starts[:1] = 0
        starts[1:] = self.ends[:-1]
        return starts


@functools.cache
def _fields_pattern(delimiter: int) -> re.Pattern[bytes]:
    # A field of a record that stands alone may hold line feeds where its quotes are never closed.
    mark = re.escape(bytes([delimiter]))
    quoted = rb'"((?>[^"]*+(?:""[^"]*+)*+))"(?:(?!%b)[ \r])*+' % mark
    return re.compile(rb'(?:%b|((?!")[^%b]*+))(%b|\Z)' % (quoted, mark, mark))


def split_record(record: bytes, delimiter: int) -> list[bytes] | None:
    """Split one record, without its line end, into its fields.

    Returns ``None`` when its quotes are never closed, or text follows a closing quote.
    """
    fields: list[bytes] = []
    at = 0
    while match := _fields_pattern(delimiter).match(record, at):
        quoted, plain, mark = match.groups()
        fields.append(plain if quoted is None else quoted.replace(b'""', b'"'))
        at = match.end()
        if not mark:
            return fields
    return None


def field_counts(data: Bytes, delimiter: int) -> Ints:
    """Count the fields of each record of ``data``, which is whole records, none of them odd."""
    marks = np.flatnonzero((data == LINE_FEED) | (data == delimiter) | (data == QUOTE))
    kinds = data[marks]
    quoted = kinds == QUOTE
    if quoted.any():
        outside = (np.cumsum(quoted) & 1 == 0) & ~quoted
        kinds = kinds[outside]
    counts: Ints = np.diff(np.flatnonzero(kinds == LINE_FEED), prepend=-1)
    return counts


def keep_records(view: memoryview, records: Records, kept: Mask) -> bytes | memoryview:
    """Join the records for which ``kept`` is true; ``view`` itself when that is all of them."""
    if kept.all() and len(kept) and records.ends[-1] == len(view):
        return view
    edges = np.flatnonzero(np.diff(kept.astype(np.int8), prepend=0, append=0))
    begins, finishes = records.starts[edges[::2]], records.ends[edges[1::2] - 1]
    return b"".join([view[a:b] for a, b in zip(begins.tolist(), finishes.tolist(), strict=True)])


def text_bounds(data: Bytes, records: Records) -> tuple[Ints, Ints]:
    """Return where each record begins and where its text ends: before LF or CR LF."""
    starts = records.starts
    stops = records.ends - 1
    last = data[np.maximum(stops - 1, 0)]
    stops -= (last == RETURN) & (stops > starts)
    return starts, stops


def raw_records(view: memoryview, starts: Ints, stops: Ints, limit: int) -> list[bytes]:
    """Copy the bytes of some records, at most ``limit`` of each."""
    cut = np.minimum(stops, starts + limit)
    return [bytes(view[a:b]) for a, b in zip(starts.tolist(), cut.tolist(), strict=True)]
