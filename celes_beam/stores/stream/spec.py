"""What is fixed for all deliveries of a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from celes_beam.errors import ConfigError
from celes_beam.sales.messages import MessageRules
from celes_beam.stores.lake.parquet_writer import Layout
from celes_beam.stores.stream.journal import check_outside, journal_root
from celes_beam.stores.warehouse.live_table import LiveSpec
from celes_beam.stores.warehouse.tables import Destination

DeliveryMode = Literal["at_least_once", "exactly_once"]


@dataclass(frozen=True)
class DeliverySpec:
    """What is fixed for all deliveries of a run; small and picklable.

    ``lake`` is a lake's folder, ``journal`` one to use in place of that within the lake,
    ``dead_letter_topic`` as ``projects/P/topics/T``. With ``stable_batches`` a batch that comes
    again is the same one (on Dataflow, behind a Reshuffle): nothing is remembered then but entries,
    and flushes are up to the pipeline. With ``live`` each delivery tells the sums of its windows.
    Raises ``ConfigError`` for exactly once without a journal.
    """

    message_rules: MessageRules
    run_id: str
    table: Destination | None = None
    lake: str | None = None
    journal: str | None = None
    dead_letter_topic: str | None = None
    delivery: DeliveryMode = "at_least_once"
    layout: Layout = field(default_factory=Layout)
    dedupe_minutes: float = 10.0
    flush_seconds: float = 60.0
    stable_batches: bool = False
    live: LiveSpec | None = None

    def __post_init__(self) -> None:
        if self.is_exactly_once and self.journal_root is None and not self.stable_batches:
            raise ConfigError(
                "--delivery exactly_once needs a journal, where batches are kept until they are "
                "in the table for certain: give --journal FOLDER, or --output, whose lake has one"
            )
        if self.journal is not None and self.lake is not None:
            check_outside(self.journal, self.lake)

    @property
    def is_exactly_once(self) -> bool:
        """Whether rows go to the table exactly once."""
        return self.delivery == "exactly_once" and self.table is not None

    @property
    def journal_root(self) -> str | None:
        """The folder of the journal, if there is one."""
        if self.stable_batches and self.lake is None:
            return None
        if self.journal is not None or self.lake is None:
            return self.journal
        return journal_root(self.lake, self.message_rules.source)

    @property
    def table_key(self) -> str:
        """The name of the table as the journal and the lake have it; empty without one."""
        return self.table.table.key if self.table is not None else ""
