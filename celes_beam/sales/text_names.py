"""Categories and regions: texts that are stripped, in NFC, and can name a folder of a lake."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from celes_beam.contract import HIVE_NULL, MAX_FOLDER_BYTES, can_name_folder, normalize_text
from celes_beam.sales.judged import (
    MISSING,
    OK,
    OUT_OF_RANGE,
    UNKNOWN,
    UNPARSEABLE,
    JudgedColumn,
)
from celes_beam.sales.shapes import Bytes, Mask, bytes_of, null_mask, offsets_of

_SPACE = 0x20
_LATIN = 0xC2
_ASCII_END = 0x80
# A character that Hive escapes takes three bytes for its one.
_ESCAPED_BYTES = 3


def judge_names(column: str, texts: pa.Array, known: tuple[str, ...] | None) -> JudgedColumn:
    """Strip and normalise a string array of categories or regions, best one of distinct names.

    A name that is null or blank is ``missing``, one that holds a NUL ``unparseable``, one that
    cannot name a folder (``contract.can_name_folder``) ``out_of_range``, and one that is not among
    ``known``, unless that is ``None``, ``unknown``.
    """
    names = normalize_names(texts)
    blank = np.diff(offsets_of(names)) == 0
    codes = np.where(blank | null_mask(names), np.uint8(MISSING), np.uint8(OK))
    if known is not None:
        inside = pc.is_in(names, value_set=pa.array(known, pa.string()))
        codes[(codes == OK) & ~inside.to_numpy(zero_copy_only=False)] = UNKNOWN
    doubtful = np.flatnonzero(_may_not_name_folder(column, names))
    for row, name in zip(doubtful, names.take(pa.array(doubtful)).to_pylist(), strict=True):
        if name is not None and not can_name_folder(column, name):
            codes[row] = OUT_OF_RANGE
    if _holds_nul(names):
        holds_nul = pc.fill_null(pc.match_substring(names, "\0"), False)
        codes[holds_nul.to_numpy(zero_copy_only=False)] = UNPARSEABLE
    return JudgedColumn(names, codes)


def normalize_names(names: pa.Array) -> pa.Array:
    """Strip and NFC-normalise each of a string array; the array itself when all are so already."""
    if are_normal(names):
        return names
    names = pc.utf8_trim_whitespace(names.cast(pa.string()))
    # Below U+0300 nothing composes, so only texts with characters beyond can be decomposed.
    composable = pc.match_substring_regex(names, r"[^\x{0}-\x{2FF}]")
    rows = np.flatnonzero(pc.fill_null(composable, False).to_numpy(zero_copy_only=False))
    if not len(rows):
        return names
    normal = [normalize_text(t) for t in names.take(pa.array(rows)).to_pylist()]
    return pc.replace_with_mask(
        names, pc.fill_null(composable, False), pa.array(normal, pa.string())
    )


def are_acceptable(column: str, names: pa.Array) -> bool:
    """Say whether all of a string array are accepted as they are; False when in doubt."""
    if not are_normal(names) or _holds_nul(names):
        return False
    doubtful = _may_not_name_folder(column, names)
    return not doubtful.any() or all(
        can_name_folder(column, name) for name in names.filter(pa.array(doubtful)).to_pylist()
    )


def _holds_nul(names: pa.Array) -> bool:
    return bool(bytes_of(names).min(initial=1) == 0)


def _may_not_name_folder(column: str, names: pa.Array) -> Mask:
    lengths = np.diff(offsets_of(names))
    most = (MAX_FOLDER_BYTES - len(column) - 1) // _ESCAPED_BYTES
    doubtful: Mask = lengths > most
    alike = lengths == len(HIVE_NULL)
    if alike.any():
        doubtful |= alike & pc.fill_null(pc.equal(names, HIVE_NULL), False).to_numpy(
            zero_copy_only=False
        )
    return doubtful


def are_normal(names: pa.Array) -> bool:
    """Say whether all of a string array are non-blank UTF-8, stripped and NFC; False when in doubt.

    Null counts as normal. Looks at bytes only, a nanosecond or two for each text.
    """
    offsets = offsets_of(names)
    starts, ends = offsets[:-1], offsets[1:]
    if names.null_count:
        present = ~null_mask(names)
        starts, ends = starts[present], ends[present]
    if not (starts < ends).all():
        return False
    data = bytes_of(names)
    used = data[offsets[0] : offsets[-1]]
    highest = used.max(initial=0)
    # Bytes from 0xCC lead characters from U+0300 on: combining marks, and those that hold them.
    if highest >= 0xCC or (highest >= _ASCII_END and not is_utf8(names)):
        return False
    latin = highest >= _LATIN and (used == _LATIN).any()
    if used.min(initial=0xFF) > _SPACE and not latin:
        return True
    first, last = data[starts], data[ends - 1]
    spaced = (first <= _SPACE) | (last <= _SPACE)
    if latin:
        # The only white space from U+0080 to U+02FF is C2 85 and C2 A0.
        spaced |= (first == _LATIN) | (last == 0x85) | (last == 0xA0)
    return not spaced.any()


def is_utf8(texts: pa.Array) -> bool:
    """Say whether all of a string array are valid UTF-8; files of others may hold what is not."""
    offsets, data = offsets_of(texts), bytes_of(texts)
    used = data[offsets[0] : offsets[-1]]
    if used.max(initial=0) < _ASCII_END:
        return True
    # Text by text takes 20 times as long as all in one, if none begins within a character.
    starts = offsets[:-1][offsets[:-1] < offsets[-1]]
    if not ((data[starts] & 0xC0) == _ASCII_END).any() and is_utf8_text(used):
        return True
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def is_utf8_text(text: Bytes) -> bool:
    """Say whether some bytes are UTF-8 as a whole."""
    bounds = pa.py_buffer(np.array([0, len(text)], np.int64))
    whole = pa.Array.from_buffers(pa.large_string(), 1, [None, bounds, pa.py_buffer(text)])
    try:
        whole.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True
