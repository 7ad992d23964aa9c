"""The figures of a stream in Prometheus' format, served on this machine while it runs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from celes_beam.commands.stream_status import StreamFigures, StreamMeter
from celes_beam.contract import REASONS
from celes_beam.errors import UsageError

if TYPE_CHECKING:
    from prometheus_client import Metric

_LOGGER = logging.getLogger(__name__)
_HOST = "127.0.0.1"
PREFIX = "celes_beam_"


@dataclass(frozen=True)
class Told:
    """A metric: its name without prefix and ``_total``, what it tells, its field of the figures."""

    name: str
    help: str
    field: str


COUNTERS: tuple[Told, ...] = (
    Told("messages_pulled", "Messages pulled from the subscription.", "pulled"),
    Told("messages_acked", "Messages acknowledged to the subscription.", "acked"),
    Told("messages", "Messages delivered, those that had been before among them.", "messages"),
    Told("messages_duplicate", "Messages that had been delivered before.", "duplicates"),
    Told("batches", "Batches of messages delivered.", "batches"),
    Told("rows_read", "Rows read: accepted and rejected ones.", "rows_read"),
    Told("rows_accepted", "Rows accepted and written.", "rows_accepted"),
    Told("rows_refused", "Rows rejected because BigQuery refused them.", "refused"),
    Told(
        "rows_with_unknown_fields",
        "Rows with fields that are no column.",
        "rows_with_unknown_fields",
    ),
    Told("dead_letters", "Messages sent to the dead-letter topic.", "dead_letters"),
    Told("lake_commits", "Commits to the lake.", "commits"),
    Told("live_rows", "Rows counted in live windows.", "live_rows"),
    Told("live_rows_told", "Rows in the sums of live windows written so far.", "live_rows_told"),
    Told("live_rows_late", "Rows that came after their live window was told.", "live_rows_late"),
    Told("live_sums", "Sums of live windows written.", "live_sums"),
)
REJECTED = Told("rows_rejected", "Rows rejected, each under its first reason.", "rows_rejected")
OLDEST = Told(
    "oldest_unacked_seconds",
    "How long the oldest message that is held has waited.",
    "oldest_unacked",
)
LATENCY = Told(
    "latency_seconds", "From the publication of a message until it was written.", "latency"
)


class FiguresCollector:
    """Reads a meter whenever it is asked for metrics."""

    def __init__(self, meter: StreamMeter) -> None:
        self._meter = meter

    def collect(self) -> Iterator[Metric]:
        """The metrics of this moment, all of one reading."""
        return metrics_of(self._meter.read())

    def describe(self) -> Iterator[Metric]:
        """The metrics there are."""
        return metrics_of(StreamFigures())


def metrics_of(figures: StreamFigures) -> Iterator[Metric]:
    """Turn figures into metrics; every reason has its count, be it 0."""
    from prometheus_client.core import (  # noqa: PLC0415 - only where it is asked for
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
    )

    for told in COUNTERS:
        yield CounterMetricFamily(PREFIX + told.name, told.help, getattr(figures, told.field))
    rejected = CounterMetricFamily(PREFIX + REJECTED.name, REJECTED.help, labels=["reason"])
    for reason in REASONS:
        rejected.add_metric([str(reason)], figures.rejected_by_reason.get(reason, 0))
    yield rejected
    yield GaugeMetricFamily(PREFIX + OLDEST.name, OLDEST.help, figures.oldest_unacked)
    yield HistogramMetricFamily(
        PREFIX + LATENCY.name,
        LATENCY.help,
        buckets=[
            ("+Inf" if bound == float("inf") else repr(bound), count)
            for bound, count in figures.latency.at_most()
        ],
        sum_value=figures.latency.total_us / 1e6,
    )


@contextmanager
def serve_metrics(port: int | None, meter: StreamMeter) -> Iterator[str | None]:
    """Serve the figures of a meter while the body runs, to this machine alone; gives the URL.

    ``port`` 0 takes any that is free, and None serves nothing. Memory and processor time of this
    process are told too. Raises ``UsageError`` when the port cannot be had.
    """
    if port is None:
        yield None
        return
    from prometheus_client import (  # noqa: PLC0415
        CollectorRegistry,
        ProcessCollector,
        start_http_server,
    )

    registry = CollectorRegistry()
    registry.register(FiguresCollector(meter))
    ProcessCollector(registry=registry)
    try:
        server, thread = start_http_server(port, _HOST, registry)
    except OSError as error:
        raise UsageError(
            f"--metrics_port {port} cannot be had ({error.strerror}): name another port, or 0 for "
            "any that is free"
        ) from error
    url = f"http://{_HOST}:{server.server_port}/metrics"
    _LOGGER.info("figures for Prometheus: %s", url)
    try:
        yield url
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
