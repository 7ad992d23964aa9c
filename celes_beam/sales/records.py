"""Where the records of a delimited text begin and end, in bytes.

A record ends at a line feed outside quotes. A quote opens a quoted field only where a field begins,
and closes it unless another quote follows; anywhere else it is a character like any other. A record
that is longer than ``contract.MAX_RECORD_BYTES``, or whose quotes never close, ends at its first
line feed, so that a quote that is never closed costs one line and not the rest of the file.

All of this depends on the bytes from the record's start on, and never on how they were split.
"""

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
# Records read one by one before the whole-array way is tried again.
_EXACT_RECORDS = 64


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


def line_ends(data: Bytes) -> Ints:
    """Return for each line feed the offset just past it."""
    return np.flatnonzero(data == LINE_FEED) + 1


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
    begins at 0. ``odd`` says which of them hold quotes other than as RFC 4180 has them, or a
    carriage return that ends no line: those are to be split one by one, by ``split_record``.
    """

    ends: Ints
    odd: Mask

    @property
    def starts(self) -> Ints:
        """Offset of the first byte of each record."""
        starts = np.empty_like(self.ends)
        starts[:1] = 0
        starts[1:] = self.ends[:-1]
        return starts

    @property
    def any_odd(self) -> bool:
        """Whether any record is odd."""
        return bool(self.odd.any())


def find_records(data: Bytes, delimiter: int, *, final: bool) -> Records:
    """Find the complete records at the beginning of ``data``, which begins with a record.

    ``delimiter`` is the byte between fields. ``final`` says that nothing follows; ``data`` then
    ends with a line feed, and all of it is records. Otherwise the bytes from the last end on are
    the beginning of a record that is still to be completed; when they are more than
    ``MAX_RECORD_BYTES`` they hold no line feed.
    """
    marks = np.flatnonzero((data == LINE_FEED) | (data == QUOTE))
    quoted = data[marks] == QUOTE
    quotes, lines = marks[quoted], marks[~quoted]
    if not len(quotes):
        return _mark_returns(data, Records(lines + 1, np.zeros(len(lines), np.bool_)))
    inside = (np.cumsum(quoted)[~quoted] & 1).astype(np.bool_)
    strays = _stray_quotes(data, quotes, delimiter)
    if not len(strays[0]):
        ends = lines[~inside] + 1
        tail = len(data) - int(ends[-1] if len(ends) else 0)
        longest = int(np.diff(ends, prepend=0).max(initial=0))
        if longest <= MAX_RECORD_BYTES and tail <= (0 if final else MAX_RECORD_BYTES):
            records = Records(ends, _junk_after_quote(data, quotes, ends, delimiter))
            return _mark_returns(data, records)
    return _mark_returns(data, _find_irregular(data, quotes, lines, strays, delimiter, final=final))


def _stray_quotes(data: Bytes, quotes: Ints, delimiter: int) -> tuple[Ints, Ints]:
    """Return, as indexes into ``quotes``, those that can open no field: even ones, odd ones."""
    before = data[quotes - 1]
    opens = (before == delimiter) | (before == LINE_FEED) | (before == QUOTE)
    if len(quotes) and quotes[0] == 0:
        opens[0] = True
    closed = np.flatnonzero(~opens)
    return closed[closed & 1 == 0], closed[closed & 1 == 1]


def _junk_after_quote(data: Bytes, quotes: Ints, ends: Ints, delimiter: int) -> Mask:
    """Say which records have text between a closing quote and the field's end."""
    odd = np.zeros(len(ends), np.bool_)
    closing = quotes[1::2]
    closing = closing[closing < ends[-1]] if len(ends) else closing[:0]
    after = data[closing + 1]
    fits = (after == delimiter) | (after == LINE_FEED) | (after == QUOTE) | (after == RETURN)
    junk = ~fits
    if junk.any():
        odd[np.searchsorted(ends, closing[junk], side="right")] = True
    return odd


def _mark_returns(data: Bytes, records: Records) -> Records:
    returns = np.flatnonzero(data == RETURN)
    if not len(returns) or not len(records.ends):
        return records
    returns = returns[returns < records.ends[-1]]
    lone = returns[data[returns + 1] != LINE_FEED]
    records.odd[np.searchsorted(records.ends, lone, side="right")] = True
    return records


def has_lone_return(data: Bytes) -> bool:
    """Say whether ``data``, which ends with a line feed, has a carriage return before none."""
    returns = np.flatnonzero(data == RETURN)
    return bool((data[returns + 1] != LINE_FEED).any())


def _find_irregular(
    data: Bytes,
    quotes: Ints,
    lines: Ints,
    strays: tuple[Ints, Ints],
    delimiter: int,
    *,
    final: bool,
) -> Records:
    """Find records by counting quotes as far as that holds, and one by one from there."""
    ends: list[Ints] = []
    odd: list[Mask] = []
    start = 0
    size = len(data)

    def add(found: Ints, are_odd: bool | Mask) -> int:
        ends.append(found)
        odd.append(np.broadcast_to(np.asarray(are_odd), found.shape))
        return int(found[-1])

    while start < size:
        first = int(np.searchsorted(quotes, start))
        # Of the quotes from here on every second one opens a field, until one of them cannot.
        same = strays[first & 1]
        at = int(np.searchsorted(same, first))
        limit = int(quotes[same[at]]) if at < len(same) else size
        here = lines[np.searchsorted(lines, start) : np.searchsorted(lines, limit)]
        inside = (np.searchsorted(quotes[first:], here) & 1).astype(np.bool_)
        found = here[~inside] + 1
        sizes = np.diff(found, prepend=start)
        long = np.flatnonzero(sizes > MAX_RECORD_BYTES)
        if len(long):
            found = found[: long[0]]
        if len(found):
            own = quotes[first : np.searchsorted(quotes, found[-1])] - start
            junk = _junk_after_quote(data[start:], own, found - start, delimiter)
            start = add(found, junk)
        if not len(long) and limit == size and size - start <= (0 if final else MAX_RECORD_BYTES):
            break
        one_by_one = _one_by_one(data, lines, start, delimiter, final)
        if not one_by_one:
            break
        start = add(np.array(one_by_one, np.int64), True)
    if not ends:
        return Records(np.empty(0, np.int64), np.empty(0, np.bool_))
    return Records(np.concatenate(ends), np.concatenate(odd))


def _one_by_one(data: Bytes, lines: Ints, start: int, delimiter: int, final: bool) -> list[int]:
    """Return the ends of the next few records; none when more bytes are needed to tell."""
    pattern = _record_pattern(delimiter)
    ends: list[int] = []
    while start < len(data) and len(ends) < _EXACT_RECORDS:
        match = pattern.match(data.data, start, min(start + MAX_RECORD_BYTES, len(data)))
        if match:
            start = match.end()
        else:
            if not final and len(data) - start <= MAX_RECORD_BYTES:
                break
            at = int(np.searchsorted(lines, start))
            if at == len(lines):
                break
            start = int(lines[at]) + 1
        ends.append(start)
    return ends


@functools.cache
def _field_source(delimiter: int) -> bytes:
    other = b"[^%b\n]*+" % re.escape(bytes([delimiter]))
    return rb'(?>"[^"]*+(?:""[^"]*+)*+"%b|(?!")%b)' % (other, other)


@functools.cache
def _record_pattern(delimiter: int) -> re.Pattern[bytes]:
    field, mark = _field_source(delimiter), re.escape(bytes([delimiter]))
    return re.compile(b"(?:%b%b)*+%b\n" % (field, mark, field))


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
