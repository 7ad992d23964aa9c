"""How pulled messages cross a shuffle: as one MessagePack of columns."""

from __future__ import annotations

import msgspec
from apache_beam import coders

from celes_beam.sales.messages import Messages

_Columns = tuple[list[bytes], list[dict[str, str]], list[str], list[int]]


class MessagesCoder(coders.Coder):
    """Codes ``Messages``; the same messages give the same bytes, attributes in their order."""

    def encode(self, value: Messages) -> bytes:
        """To bytes."""
        return msgspec.msgpack.encode((value.data, value.attributes, value.ids, value.published))

    def decode(self, encoded: bytes) -> Messages:
        """From bytes that ``encode`` made."""
        return Messages(*msgspec.msgpack.decode(encoded, type=_Columns))

    def estimate_size(self, value: Messages) -> int:
        """About the bytes of ``encode``; Beam asks for nearly every batch that it passes on."""
        return value.size

    def is_deterministic(self) -> bool:
        """As far as the attributes come in one order, which no key must rely on."""
        return False


def register_messages_coder() -> None:
    """Let Beam use it wherever messages are; workers get it with the pipeline."""
    coders.registry.register_coder(Messages, MessagesCoder)
