"""Bring batches of messages to BigQuery, a lake and the dead letters.

Off Dataflow ``DeliverMessages`` is fused to the source, and nothing else is needed. On Dataflow
``OpenStreams`` and a Reshuffle come before it where a row must not be written twice, and
``FlushLake`` after it, for no worker knows what the others have delivered.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.transforms.trigger import AccumulationMode, AfterProcessingTime, Repeatedly
from apache_beam.transforms.window import GlobalWindows

from celes_beam.commands.stream_status import stream_meter
from celes_beam.errors import ConfigError
from celes_beam.sales.message_parts import parts
from celes_beam.sales.messages import Messages
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.manifest import Manifest
from celes_beam.stores.stream.delivery import Delivered, DeliverySpec
from celes_beam.stores.stream.flush import Flusher
from celes_beam.stores.stream.journal import Journal
from celes_beam.stores.stream.sharing import shared_delivery
from celes_beam.stores.stream.sinks import StreamPlaces
from celes_beam.transforms import metrics
from celes_beam.transforms.message_coder import register_messages_coder

register_messages_coder()


@dataclass(eq=False)
class DeliverMessages(beam.PTransform):
    """PCollection of ``Messages`` -> PCollection of ``Delivered``, what became of each.

    With ``placed`` the elements are pairs of ``Messages`` and the write streams for them.
    """

    spec: DeliverySpec
    placed: bool = False

    def expand(self, batches: beam.PCollection[Any]) -> beam.PCollection[Delivered]:
        return batches | beam.ParDo(_DeliverFn(self.spec, self.placed))


@dataclass(eq=False)
class OpenStreams(beam.PTransform):
    """PCollection of ``Messages`` -> pairs of them and the write streams opened for them, stable.

    Behind the Reshuffle at its end a bundle that is done again finds the same streams, and the
    offsets of its rows are taken there already. Streams of a bundle that fails before stay empty.
    """

    spec: DeliverySpec

    def expand(
        self, batches: beam.PCollection[Messages]
    ) -> beam.PCollection[tuple[Messages, StreamPlaces]]:
        return (
            batches
            | "Open" >> beam.ParDo(_OpenFn(self.spec))
            | "Make streams stable" >> beam.Reshuffle()
        )


@dataclass(eq=False)
class FlushLake(beam.PTransform):
    """PCollection of ``Delivered`` -> PCollection of ``Manifest``: a commit every so often.

    What was delivered is in the journal of the lake; ``seconds`` are of processing time.
    Raises ``ConfigError`` when there is no lake.
    """

    spec: DeliverySpec

    def __post_init__(self) -> None:
        if self.spec.lake is None:
            raise ConfigError("there is no lake to flush to: give --output")

    def expand(self, delivered: beam.PCollection[Delivered]) -> beam.PCollection[Manifest]:
        trigger = Repeatedly(AfterProcessingTime(round(self.spec.flush_seconds)))
        return (
            delivered
            | "Name" >> beam.FlatMap(_named)
            | "Wait"
            >> beam.WindowInto(
                GlobalWindows(), trigger=trigger, accumulation_mode=AccumulationMode.DISCARDING
            )
            | "Gather" >> beam.GroupByKey()
            | "Commit" >> beam.ParDo(_FlushFn(self.spec))
        )


def _named(delivered: Delivered) -> Iterator[tuple[None, str]]:
    if delivered.entry is not None:
        yield None, delivered.entry


class _DeliverFn(beam.DoFn):
    def __init__(self, spec: DeliverySpec, placed: bool) -> None:
        self._spec = spec
        self._placed = placed

    def setup(self) -> None:
        self._delivery = shared_delivery(self._spec.run_id)
        self._delivery.join()
        self._meter = stream_meter(self._spec.run_id)

    def process(self, element: Any) -> Iterator[Delivered]:
        messages, places = element if self._placed else (element, None)
        # Stable batches were cut before.
        for part in (messages,) if self._spec.stable_batches else parts(messages):
            delivered = self._delivery.deliver(self._spec, part, places)
            self._meter.add(delivered)
            _count(delivered)
            yield delivered

    def teardown(self) -> None:
        self._delivery.leave()


class _OpenFn(beam.DoFn):
    def __init__(self, spec: DeliverySpec) -> None:
        self._spec = spec

    def setup(self) -> None:
        self._delivery = shared_delivery(self._spec.run_id)
        self._delivery.join()

    def process(self, messages: Messages) -> Iterator[tuple[Messages, StreamPlaces]]:
        yield messages, self._delivery.open_streams(self._spec)

    def teardown(self) -> None:
        self._delivery.leave()


class _FlushFn(beam.DoFn):
    def __init__(self, spec: DeliverySpec) -> None:
        self._spec = spec
        self._flusher: Flusher | None = None

    def process(self, named: tuple[None, Iterable[str]]) -> Iterator[Manifest]:
        flusher = self._flusher = self._flusher or self._open()
        names = sorted(set(named[1]))
        listing = flusher.journal.listing()
        # Those that are gone were flushed by the first try of this bundle, or by another.
        commits = flusher.flush(listing, [name for name in names if name in listing.entries])
        metrics.LAKE_COMMITS.inc(len(commits))
        flusher.journal.delete(listing, names)
        yield from commits

    def _open(self) -> Flusher:
        spec = self._spec
        lake, root = spec.lake, spec.journal_root
        if lake is None or root is None:
            raise ConfigError("there is no lake to flush to: give --output")
        flusher = Flusher(
            Lake.open(lake),
            Journal.open(root),
            spec.run_id,
            spec.layout,
            spec.message_rules.source,
        )
        flusher.prepare()
        return flusher


def _count(delivered: Delivered) -> None:
    metrics.BATCHES.inc()
    metrics.ROWS_READ.inc(delivered.rows)
    metrics.ROWS_ACCEPTED.inc(delivered.accepted)
    metrics.ROWS_REJECTED.inc(delivered.rejected)
    metrics.ROWS_REFUSED.inc(delivered.refused)
    metrics.MESSAGES_DUPLICATE.inc(delivered.duplicates)
    metrics.DEAD_LETTERS.inc(delivered.dead_letters)
    if delivered.rows:
        metrics.BATCH_ROWS.update(delivered.rows)
    if len(delivered.latencies):
        metrics.LATENCY_MS.update(int(delivered.latencies.mean()) // 1000)
