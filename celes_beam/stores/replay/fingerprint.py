"""A fingerprint of all that rejected rows are judged by, to know verdicts that cannot differ."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from datetime import datetime
from hashlib import blake2b
from pathlib import Path

import msgspec

from celes_beam.contract import EPOCH, RULES_VERSION, Rules
from celes_beam.sales.transform import Transform
from celes_beam.stores.inputs.read_options import ReadOptions
from celes_beam.stores.lake.manifest import Manifest

_DIGEST_BYTES = 16


def fingerprint(rules: Rules, how: ReadOptions, csv_header: str | None) -> str:
    """Rules, notation, columns and the fix with the text of its module, but not the time, in hex.

    Dates are bounded by the time, so that one in the future may be judged otherwise later.
    """
    parts = (
        RULES_VERSION,
        rules.categories,
        rules.regions,
        how.columns,
        how.format,
        how.dialect.delimiter,
        how.dialect.encoding,
        how.dialect.notation.decimal_point,
        how.dialect.notation.date_format,
        csv_header,
        None if how.transform is None else (how.transform.reference, _text_of(how.transform)),
    )
    return blake2b(msgspec.msgpack.encode(parts), digest_size=_DIGEST_BYTES).hexdigest()


def judged_at(manifests: Iterable[Manifest], rules: str) -> frozenset[int]:
    """When replays with these rules rejected rows: microseconds since 1970."""
    times = [
        datetime.fromisoformat(m.started_at)
        for m in manifests
        if m.replayed is not None and m.replayed.rules == rules
    ]
    return frozenset((time - EPOCH) // datetime.resolution for time in times)


def _text_of(fix: Transform) -> bytes:
    module = sys.modules.get(fix.reference.partition(":")[0])
    file = getattr(module, "__file__", None)
    try:
        return Path(file).read_bytes() if file else b""
    except OSError:
        return b""
