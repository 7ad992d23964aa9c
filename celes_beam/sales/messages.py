"""Pulled messages, column by column."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, eq=False)
class Messages:
    """Messages of Pub/Sub, in lists of one length: cheap to join, to slice, and to pickle.

    ``published`` are microseconds since 1970.
    """

    data: list[bytes]
    attributes: list[dict[str, str]]
    ids: list[str]
    published: list[int]

    def __len__(self) -> int:
        return len(self.data)

    @property
    def size(self) -> int:
        """Bytes of data."""
        return sum(map(len, self.data))

    @property
    def newest(self) -> int:
        """The latest of ``published``. Raises ``ValueError`` when there are no messages."""
        return max(self.published)
