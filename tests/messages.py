"""Messages of sales for tests, and their rows as plain values."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from celes_beam.sales.messages import CheckedMessages, MessageRules, Messages, check_messages
from tests.sales import RULES

PUBLISHED = int(RULES.started.timestamp()) * 1_000_000
SOURCE = "pubsub:projects/p/subscriptions/s"
VALUES = {
    "id_cliente": 1,
    "fecha_de_transaccion": "2024-01-31",
    "cantidad_de_venta": 5.5,
    "categoria_de_producto": "Electrónica",
    "region_de_venta": "Norte",
}
GZIP = {"content-encoding": "gzip"}


def sale(**changes: Any) -> bytes:
    """One sale as JSON, with some values other than ``VALUES``; ``None`` is null."""
    return json.dumps({**VALUES, **changes}, ensure_ascii=False).encode()


def messages_of(
    data: Sequence[bytes], attributes: Sequence[dict[str, str]] | None = None
) -> Messages:
    """Messages ``m0``, ``m1``, … that were published together."""
    return Messages(
        list(data),
        list(attributes or [{} for _ in data]),
        [f"m{i}" for i in range(len(data))],
        [PUBLISHED] * len(data),
    )


def check(
    *data: bytes, attributes: Sequence[dict[str, str]] | None = None, **rules: Any
) -> CheckedMessages:
    """What becomes of messages of such data."""
    return check_messages(messages_of(data, attributes), MessageRules(SOURCE, **rules))


def rejected(checked: CheckedMessages) -> list[tuple[Any, ...]]:
    """Message, position, reasons, column, value and raw of each rejected row."""
    return [
        (message, r["position"], r["reasons"], r["column"], r["value"], r["raw"])
        for message, r in zip(
            checked.rejected_messages.tolist(), checked.rejected.to_pylist(), strict=True
        )
    ]


def malformed(message: int, raw: bytes, position: int = 0) -> tuple[Any, ...]:
    """A row of ``rejected`` of a record that is no row at all."""
    return (message, position, ["malformed"], None, None, raw)


def row_ids(checked: CheckedMessages) -> list[str]:
    """The ids of the accepted rows."""
    ids: list[str] = checked.accepted_ids.to_pylist()
    return ids
