"""Texts grouped by shape, so that a column is parsed shape by shape and not row by row.

The shape of a text is its bytes with every digit written as ``0``: a million dates have one shape,
a million amounts about ten. A pattern is matched once against each shape; the digits are then read
for all its rows at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from celes_beam.sales.judged import MISSING, UNPARSEABLE, Codes

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Bytes = npt.NDArray[np.uint8]

_SHAPE_OF_BYTE = np.arange(256, dtype=np.uint8)
_SHAPE_OF_BYTE[ord("0") : ord("9") + 1] = ord("0")
# Bounds the memory of one group, whose row positions take 8 bytes for each byte of text.
_GROUP_BYTES = 1 << 22


@dataclass(frozen=True)
class ShapeGroup:
    """Texts of one shape: their row indexes, and their bytes, one text a row (rows x length)."""

    shape: bytes
    rows: Ints
    texts: Bytes


def trim(texts: pa.Array) -> tuple[pa.Array, Codes]:
    """Strip surrounding white space, and say which texts are null or blank.

    Returns the stripped string array and a code for each row: ``MISSING``, or ``UNPARSEABLE`` as
    what a row is until some shape fits it.
    """
    texts = pc.utf8_trim_whitespace(texts)
    codes = np.full(len(texts), UNPARSEABLE, np.uint8)
    codes[np.diff(offsets_of(texts)) == 0] = MISSING
    if texts.null_count:
        codes[null_mask(texts)] = MISSING
    return texts, codes


def null_mask(array: pa.Array) -> Mask:
    """Say for each row whether it is null."""
    mask: Mask = pc.is_null(array).to_numpy(zero_copy_only=False)
    return mask


def offsets_of(texts: pa.Array) -> npt.NDArray[np.int32]:
    """Return the n + 1 offsets of a string array into the bytes that ``bytes_of`` returns."""
    offset, n = texts.offset, len(texts)
    if texts.buffers()[1] is None or not texts.buffers()[1].size:
        return np.zeros(n + 1, np.int32)
    return np.frombuffer(texts.buffers()[1], np.int32)[offset : offset + n + 1]


def bytes_of(texts: pa.Array) -> Bytes:
    """Return all bytes of a string array's buffer, also those before and after a slice."""
    data = texts.buffers()[2]
    return np.frombuffer(b"" if data is None else data, np.uint8)


def shape_groups(texts: pa.Array, codes: Codes) -> Iterator[ShapeGroup]:
    """Yield the groups of the non-missing texts of a string array, in no particular order."""
    offsets, data = offsets_of(texts), bytes_of(texts)
    lengths = np.diff(offsets)
    if (codes == MISSING).any():
        lengths[codes == MISSING] = 0
    for length in np.unique(lengths):
        if length == 0:
            continue
        rows = np.flatnonzero(lengths == length)
        step = max(1, _GROUP_BYTES // int(length))
        for start in range(0, len(rows), step):
            part = rows[start : start + step]
            yield from _split(part, _matrix(data, offsets, part, int(length)))


def _matrix(data: Bytes, offsets: npt.NDArray[np.int32], rows: Ints, length: int) -> Bytes:
    first, last = offsets[rows[0]], offsets[rows[-1]] + length
    # Neighbouring texts of one length lie in memory as a matrix already.
    if last - first == len(rows) * length:
        return data[first:last].reshape(len(rows), length)
    gathered: Bytes = data[offsets[rows][:, None] + np.arange(length, dtype=np.int32)]
    return gathered


def _split(rows: Ints, texts: Bytes) -> Iterator[ShapeGroup]:
    shapes = _SHAPE_OF_BYTE[texts]
    first = shapes[0].tobytes()
    if (shapes == shapes[0]).all():
        yield ShapeGroup(first, rows, texts)
        return
    encoded = pa.Array.from_buffers(
        pa.binary(shapes.shape[1]), len(rows), [None, pa.py_buffer(shapes)]
    ).dictionary_encode()
    numbers = encoded.indices.to_numpy()
    order = np.argsort(numbers, kind="stable")
    ends = np.cumsum(np.bincount(numbers))
    start = 0
    for shape, end in zip(encoded.dictionary.to_pylist(), ends.tolist(), strict=True):
        chosen = order[start:end]
        yield ShapeGroup(shape, rows[chosen], texts[chosen])
        start = end


def number(digits: Bytes) -> npt.NDArray[Any]:
    """Read a matrix of at most 19 ASCII digits a row as unsigned integers, of 16 to 64 bits."""
    width = digits.shape[1]
    kind = np.uint16 if width <= 4 else np.uint32 if width <= 9 else np.uint64
    values: npt.NDArray[Any] = np.zeros(len(digits), kind)
    for column in digits.T:
        values *= 10
        values += column - np.uint8(ord("0"))
    return values


def nonzero(digits: Bytes) -> Mask:
    """Say for each row of a matrix of ASCII digits whether any digit is not 0."""
    mask: Mask = (digits != ord("0")).any(axis=1)
    return mask
