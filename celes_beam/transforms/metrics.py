"""Beam counters of the pipelines, named in one place; they may count a retried bundle twice.

The figures of a run are those of its commit, which reconcile; these are for watching a job. Each is
in the table of ``docs/metrics.md``.
"""

from __future__ import annotations

from apache_beam.metrics import Metrics

from celes_beam.sales.messages import Messages

NAMESPACE = "celes_beam"

ROWS_READ = Metrics.counter(NAMESPACE, "rows_read")
ROWS_ACCEPTED = Metrics.counter(NAMESPACE, "rows_accepted")
ROWS_REJECTED = Metrics.counter(NAMESPACE, "rows_rejected")
FILES_STAGED = Metrics.counter(NAMESPACE, "files_staged")
BYTES_STAGED = Metrics.counter(NAMESPACE, "bytes_staged")

MESSAGES_PULLED = Metrics.counter(NAMESPACE, "messages_pulled")
MESSAGES_DUPLICATE = Metrics.counter(NAMESPACE, "messages_duplicate")
MESSAGE_BYTES = Metrics.counter(NAMESPACE, "message_bytes")
ROWS_REFUSED = Metrics.counter(NAMESPACE, "rows_refused")
DEAD_LETTERS = Metrics.counter(NAMESPACE, "dead_letters")
BATCHES = Metrics.counter(NAMESPACE, "batches")
LAKE_COMMITS = Metrics.counter(NAMESPACE, "lake_commits")
LIVE_ROWS = Metrics.counter(NAMESPACE, "live_rows")
LIVE_ROWS_TOLD = Metrics.counter(NAMESPACE, "live_rows_told")
LIVE_ROWS_LATE = Metrics.counter(NAMESPACE, "live_rows_late")
LIVE_SUMS = Metrics.counter(NAMESPACE, "live_sums")
BATCH_MESSAGES = Metrics.distribution(NAMESPACE, "batch_messages")
BATCH_ROWS = Metrics.distribution(NAMESPACE, "batch_rows")
LATENCY_MS = Metrics.distribution(NAMESPACE, "latency_ms")


def count_pulled(batch: Messages) -> None:
    """Count a batch of messages as a source gives it."""
    MESSAGES_PULLED.inc(len(batch))
    MESSAGE_BYTES.inc(batch.size)
    BATCH_MESSAGES.update(len(batch))
