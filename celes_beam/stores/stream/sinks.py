"""The sinks of a stream, opened: tables of BigQuery and a dead-letter topic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import pyarrow as pa

from celes_beam.sales.messages import CheckedMessages
from celes_beam.stores.messages.dead_letters import DeadLetters
from celes_beam.stores.stream.apply import Sinks
from celes_beam.stores.stream.entry import Place, Places
from celes_beam.stores.warehouse.stream_tables import beyond_partitions, stream_batch
from celes_beam.stores.warehouse.tables import Destination
from celes_beam.stores.warehouse.write_streams import WriteStreams


@dataclass(frozen=True)
class StreamPlaces:
    """Write streams that were opened for one batch."""

    sales: str
    rejected: str

    @classmethod
    def opened(cls, sinks: Sinks) -> Self:
        """Open one for the accepted and one for the rejected rows of a batch."""
        if sinks.sales is None or sinks.rejected is None:
            return cls("", "")
        return cls(sinks.sales.open(), sinks.rejected.open())

    @property
    def places(self) -> Places:
        """Where the batch goes."""
        return Places(Place(self.sales, 0), Place(self.rejected, 0))


def open_sinks(
    table: Destination | None, dead_letter_topic: str | None, *, id_attribute: str | None = None
) -> Sinks:
    """Open the tables and the topic; the tables must be there."""
    return Sinks(
        sales=WriteStreams(table.table) if table is not None else None,
        rejected=WriteStreams(table.table.rejected) if table is not None else None,
        dead_letters=(
            DeadLetters(dead_letter_topic, id_attribute=id_attribute)
            if dead_letter_topic is not None
            else None
        ),
        stream_rows=_stream_rows,
        beyond=beyond_partitions,
    )


def _stream_rows(checked: CheckedMessages, ingested_at: int) -> pa.RecordBatch:
    return stream_batch(checked.accepted, checked.accepted_ids, ingested_at, checked.other_fields)
