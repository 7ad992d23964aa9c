"""What a message in the dead-letter topic looks like: the rejected bytes, and why in attributes.

Pub/Sub takes 100 attributes a message, values of 1,024 bytes, and 10 MB in all. The row itself
comes first, then the attributes it came with, then ours, by their importance.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import pyarrow as pa

from celes_beam.contract import EPOCH, REASONS, REJECTED_SCHEMA, Reason
from celes_beam.sales.message_records import decompress
from celes_beam.sales.messages import Messages
from celes_beam.stores.messages.topic_writer import (
    MOST_ATTRIBUTES,
    MOST_VALUE_BYTES,
    message_size,
)

CUT = "celes_cut"
"""At how many bytes the row was cut, where it was too long to be kept."""
REASONS_OF_ROW = "celes_reasons"
ATTEMPT = "celes_attempt"
MESSAGE_ID = "celes_message_id"
SOURCE = "celes_source"
POSITION = "celes_position"
COLUMN = "celes_column"
VALUE = "celes_value"
REJECTED_AT = "celes_rejected_at"
RULES_VERSION = "celes_rules_version"
OURS: tuple[str, ...] = (
    CUT,
    REASONS_OF_ROW,
    ATTEMPT,
    MESSAGE_ID,
    SOURCE,
    POSITION,
    COLUMN,
    VALUE,
    REJECTED_AT,
    RULES_VERSION,
)
"""Our attributes; where there is no room, the last go first."""
_RESERVED = "goog"
"""Keys that begin so are Google's: it writes them, and refuses them from others."""
_ELLIPSIS = "…"
_ENCODING = "content-encoding"
_PUBSUB = "CloudPubSubDeadLetterSource"
_INT32 = 2**31 - 1
_INT64 = 2**63 - 1


def attributes_of_row(row: Mapping[str, Any], message_id: str) -> dict[str, str]:
    """Our attributes for a row of ``contract.REJECTED_SCHEMA``; a null has none."""
    values = {
        REASONS_OF_ROW: ",".join(row["reasons"]),
        ATTEMPT: str(row["attempt"]),
        MESSAGE_ID: message_id,
        SOURCE: row["source"],
        POSITION: str(row["position"]),
        COLUMN: row["column"],
        VALUE: row["value"],
        REJECTED_AT: row["rejected_at"].astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        RULES_VERSION: str(row["rules_version"]),
    }
    return {key: value for key, value in values.items() if value is not None}


def fit(
    data: bytes, theirs: Mapping[str, str], ours: Mapping[str, str], most: int
) -> tuple[bytes, dict[str, str]]:
    """Put together what goes into the dead-letter topic, within the limits of Pub/Sub.

    ``theirs`` are the attributes that the message came with, of which those of ours that an earlier
    attempt left are replaced, but for ``CUT``; ``most`` is the largest ``message_size``, which
    leaves room for 100 attributes. Of ``ours`` the least important are left out until the data fit.
    Data that do not fit even so are cut, and ``CUT`` tells where.
    """
    was_cut = {CUT: theirs[CUT]} if CUT in theirs else {}
    ours = {key: _cut_text(value) for key, value in (was_cut | dict(ours)).items()}
    ours = {key: ours[key] for key in OURS if key in ours}
    own = {
        key: value
        for key, value in theirs.items()
        if key not in OURS and not key.startswith(_RESERVED)
    }
    attributes = _together(own, ours)
    while message_size(data, attributes) > most:
        last = next(reversed(attributes), CUT)
        if last not in OURS or last == CUT:
            attributes = _together(own, {CUT: ""} | ours | {CUT: str(most)})
            size = most - message_size(b"", attributes)
            return data[:size], attributes | {CUT: str(size)}
        del attributes[last]
    return data, attributes


def _together(own: Mapping[str, str], ours: Mapping[str, str]) -> dict[str, str]:
    """At most 100 attributes: a message's own, then ours, by their importance."""
    # To have been cut in silence would be worse than to miss the last attribute of a hundred.
    kept = dict(islice(own.items(), MOST_ATTRIBUTES - (CUT in ours)))
    return kept | dict(islice(ours.items(), MOST_ATTRIBUTES - len(kept)))


def is_compressed(attributes: Mapping[str, str]) -> bool:
    """Whether the data of a message are gzip."""
    return any(
        key.lower() == _ENCODING and value.strip().lower() == "gzip"
        for key, value in attributes.items()
    )


def without_encoding(attributes: Mapping[str, str]) -> dict[str, str]:
    """The attributes of a message whose data are no longer compressed."""
    return {key: value for key, value in attributes.items() if key.lower() != _ENCODING}


def read_dead_letters(messages: Messages) -> pa.RecordBatch:
    """Read messages of a dead-letter topic as ``contract.REJECTED_SCHEMA``, a row for each.

    ``raw`` is the whole data, decompressed. Of one that Pub/Sub itself put there, for it was
    delivered too often, and of any other without readable attributes of ours, the reason is
    ``malformed``, the time that of the message, the attempt 1, and the version of the rules 0.
    """
    rows = [
        _row(data, attributes, message_id, published)
        for data, attributes, message_id, published in zip(
            messages.data, messages.attributes, messages.ids, messages.published, strict=True
        )
    ]
    return pa.RecordBatch.from_pylist(rows, schema=REJECTED_SCHEMA)


def _row(
    data: bytes, attributes: dict[str, str], message_id: str, published: int
) -> dict[str, Any]:
    known = [r for r in attributes.get(REASONS_OF_ROW, "").split(",") if r in REASONS]
    return {
        "source": attributes.get(SOURCE) or f"{_source(attributes)}/{message_id}",
        "position": _number(attributes.get(POSITION), _INT64, 0),
        "reasons": known or [Reason.MALFORMED],
        "column": attributes.get(COLUMN),
        "value": attributes.get(VALUE),
        "raw": _plain(data, attributes),
        "rejected_at": _time(attributes.get(REJECTED_AT))
        or EPOCH + timedelta(microseconds=published),
        "rules_version": _number(attributes.get(RULES_VERSION), _INT32, 0),
        "attempt": max(1, _number(attributes.get(ATTEMPT), _INT32, 1)),
    }


def _plain(data: bytes, attributes: Mapping[str, str]) -> bytes:
    """The data decompressed; as they are when they cannot be."""
    found = decompress(data) if is_compressed(attributes) else None
    return data if found is None else found


def _source(attributes: Mapping[str, str]) -> str:
    name = attributes.get(f"{_PUBSUB}Subscription")
    if name is None:
        return "pubsub:"
    project = attributes.get(f"{_PUBSUB}SubscriptionProject", "")
    return f"pubsub:projects/{project}/subscriptions/{name}"


def _number(text: str | None, most: int, default: int) -> int:
    # Anybody can write to a topic; Python takes digits of any script and length.
    if text is None or not (text.isascii() and text.isdigit() and len(text) < 20):
        return default
    return min(int(text), most)


def _time(text: str | None) -> datetime | None:
    try:
        found = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    if found.tzinfo is None:
        return None
    try:
        return found.astimezone(UTC)
    except OverflowError:
        return None


def _cut_text(text: str) -> str:
    """Cut a text to what an attribute holds, at the border of a character."""
    encoded = text.encode()
    if len(encoded) <= MOST_VALUE_BYTES:
        return text
    room = MOST_VALUE_BYTES - len(_ELLIPSIS.encode())
    return encoded[:room].decode(errors="ignore") + _ELLIPSIS
