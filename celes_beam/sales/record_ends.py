"""Where the records of a delimited text end, in bytes.

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

from celes_beam.contract import MAX_RECORD_BYTES
from celes_beam.sales.records import LINE_FEED, QUOTE, RETURN, Bytes, Ints, Mask, Records

# Records read one by one before the whole-array way is tried again.
_EXACT_RECORDS = 64


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
        regular = Records(lines + 1, np.zeros(len(lines), np.bool_), False)
        return _mark_returns(data, regular)
    inside = (np.cumsum(quoted)[~quoted] & 1).astype(np.bool_)
    found = _Quotes(quotes, lines, *_openings(data, quotes, delimiter))
    if not len(found.strays[0]):
        ends = lines[~inside] + 1
        tail = len(data) - int(ends[-1] if len(ends) else 0)
        longest = int(np.diff(ends, prepend=0).max(initial=0))
        if longest <= MAX_RECORD_BYTES and tail <= (0 if final else MAX_RECORD_BYTES):
            odd = _junk_after_quote(data, quotes, ends, delimiter)
            return _mark_returns(data, Records(ends, odd, bool(odd.any())))
    return _mark_returns(data, _find_irregular(data, found, delimiter, final=final))


@dataclass(frozen=True)
class _Quotes:
    """Offsets of the quotes and line feeds of a text.

    ``openings`` are those of quotes at the beginning of a field. ``strays`` has the indexes into
    ``quotes`` of those that can open no field, nor go on with one: even indexes, odd ones.
    """

    quotes: Ints
    lines: Ints
    openings: Ints
    strays: tuple[Ints, Ints]


def _openings(data: Bytes, quotes: Ints, delimiter: int) -> tuple[Ints, tuple[Ints, Ints]]:
    before = data[quotes - 1]
    opens = (before == delimiter) | (before == LINE_FEED)
    opens[quotes == 0] = True
    strays = np.flatnonzero(~opens & (before != QUOTE))
    return quotes[opens], (strays[strays & 1 == 0], strays[strays & 1 == 1])


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
    if not len(lone):
        return records
    odd = records.odd.copy()
    odd[np.searchsorted(records.ends, lone, side="right")] = True
    return Records(records.ends, odd, True)


def _find_irregular(data: Bytes, found: _Quotes, delimiter: int, *, final: bool) -> Records:
    """Find records by counting quotes as far as that holds, and by closer looks from there."""
    ends: list[Ints] = [np.empty(0, np.int64)]
    odd: list[Mask] = [np.empty(0, np.bool_)]
    ambiguous = False
    start = 0
    while start < len(data):
        counted, complete = _by_counting(found, start, len(data))
        if len(counted):
            own = found.quotes[_between(found.quotes, start, counted[-1])] - start
            junk = _junk_after_quote(data[start:], own, counted - start, delimiter)
            ambiguous |= bool(junk.any())
            ends.append(counted)
            odd.append(junk)
            start = int(counted[-1])
        if complete and len(data) - start <= (0 if final else MAX_RECORD_BYTES):
            break
        plain = _without_openings(found, start, len(data))
        if len(plain):
            # Quotes within fields, such as 5" for inches: other readers leave them alone too.
            ends.append(plain)
            bounds = np.searchsorted(found.quotes, np.concatenate([[start], plain]))
            odd.append(np.diff(bounds) > 0)
            start = int(plain[-1])
            continue
        exact = _one_by_one(data, found.lines, start, delimiter, final)
        if not exact:
            break
        ambiguous = True
        ends.append(np.array(exact, np.int64))
        odd.append(np.ones(len(exact), np.bool_))
        start = exact[-1]
    return Records(np.concatenate(ends), np.concatenate(odd), ambiguous)


def _between(offsets: Ints, start: int, end: int) -> slice:
    return slice(int(np.searchsorted(offsets, start)), int(np.searchsorted(offsets, end)))


def _by_counting(found: _Quotes, start: int, size: int) -> tuple[Ints, bool]:
    """Find the ends of records from ``start`` on until a quote is not what counting has it be.

    Also returns whether that was true to the end.
    """
    first = int(np.searchsorted(found.quotes, start))
    # Of the quotes from here on every second one opens a field, until one of them cannot.
    strays = found.strays[first & 1]
    at = int(np.searchsorted(strays, first))
    limit = int(found.quotes[strays[at]]) if at < len(strays) else size
    lines = found.lines[_between(found.lines, start, limit)]
    inside = (np.searchsorted(found.quotes[first:], lines) & 1).astype(np.bool_)
    ends = lines[~inside] + 1
    long = np.flatnonzero(np.diff(ends, prepend=start) > MAX_RECORD_BYTES)
    if len(long):
        return ends[: long[0]], False
    return ends, limit == size


def _without_openings(found: _Quotes, start: int, size: int) -> Ints:
    """Find the ends of lines from ``start`` on before the next field that begins with a quote."""
    at = int(np.searchsorted(found.openings, start))
    limit = int(found.openings[at]) if at < len(found.openings) else size
    return found.lines[_between(found.lines, start, limit)] + 1


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
