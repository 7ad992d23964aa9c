"""A stream at rates that were not measured: on Dataflow, into a table and a lake.

``docs/scale.md`` says what is supposed.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from benchmarks.scale_limits import Limits
from benchmarks.scale_measured import FLUSH, MESSAGES, NATIVE, Measured
from benchmarks.scale_model import MACHINE, Pressure, Traffic, of_core
from celes_beam.plan.cost import Estimate, estimate_month
from celes_beam.plan.job import Job
from celes_beam.plan.prices import Prices
from celes_beam.plan.refusals import STREAMS_PER_BATCH, STREAMS_PER_HOUR, StreamShape

PULL, APPEND = "pull and ack alone", "append alone"
AT_LEAST_ONCE, WITH_LAKE = "at least once", "exactly once, and a lake"
STREAM_WAYS = (AT_LEAST_ONCE, WITH_LAKE)
"""Ways of ``benchmarks.streaming`` that are measured, and predicted."""
BATCH_BYTES = 8 * 2**20
"""A batch of messages holds no more, whatever ``--max_batch_rows`` says."""


def predicted_stream_seconds(measured: Measured, way: str) -> float | None:
    """Seconds of a backlog on the machine that was measured, servers and all.

    A run of few messages, and for each more the parts added up, for they share the cores; ``None``
    for a way that is a part itself.
    """
    stream, stages = measured.stream, measured.stages
    if stream is None or way not in stream.few:
        return None
    message = sum(stream.seconds[part] for part in (PULL, APPEND)) / stream.messages
    messages = stages[MESSAGES]
    message += messages.per_row()
    if way == AT_LEAST_ONCE:
        journal = sum(took for stage, took in messages.seconds.items() if "journal" in stage)
        message -= journal / messages.rows
    else:
        message += stages[FLUSH].per_row()
    return stream.few[way] + message * (stream.messages - stream.few_messages)


@dataclass(frozen=True)
class StreamFlags:
    """The flags of a stream that decide how many batches, requests and commits it makes."""

    delivery: str = "exactly_once"
    max_batch_rows: int = 5_000
    max_batch_seconds: float = 1.0
    flush_seconds: float = 60.0
    lake: bool = True

    def __str__(self) -> str:
        default = StreamFlags()
        given = [f"--delivery {self.delivery}"]
        for name, flag in (
            ("max_batch_rows", "max_batch_rows"),
            ("max_batch_seconds", "max_batch_seconds"),
            ("flush_seconds", "lake_flush_seconds"),
        ):
            if getattr(self, name) != getattr(default, name):
                given.append(f"--{flag} {getattr(self, name):g}")
        return " ".join(given) + ("" if self.lake else ", no --output")

    def batches_a_second(self, rate: float, message_bytes: float) -> float:
        """The fewest batches a second, those of one gatherer."""
        rows = min(self.max_batch_rows, BATCH_BYTES / message_bytes)
        return max(1 / self.max_batch_seconds, rate / rows)


TURNS = (
    StreamFlags(),
    StreamFlags(max_batch_rows=50_000, max_batch_seconds=5.0),
    StreamFlags("at_least_once", max_batch_rows=50_000, max_batch_seconds=5.0),
    StreamFlags("at_least_once", max_batch_rows=50_000, max_batch_seconds=5.0, lake=False),
)
"""What is turned, one after another, until nothing breaks."""


@dataclass(frozen=True)
class StreamForecast:
    """A stream at a rate, with the flags; costs are of a month."""

    rate: float
    flags: StreamFlags
    planned: Estimate
    measured: Estimate
    batches: float
    traffic: tuple[Traffic, ...]
    pressures: tuple[Pressure, ...]


def stream_forecast(
    rate: float, flags: StreamFlags, measured: Measured, prices: Prices, limits: Limits
) -> StreamForecast:
    """Forecast a stream of ``rate`` messages a second of the size that was measured."""
    messages = measured.stages[MESSAGES]
    size = messages.bytes_read / messages.rows
    batches = flags.batches_a_second(rate, size)
    job = Job("streaming", machine_type=MACHINE, max_workers=1_000_000)
    shape = StreamShape(flags.delivery, flags.max_batch_rows, flags.max_batch_seconds, rate, size)
    here = msgspec.structs.replace(
        prices,
        supposed=msgspec.structs.replace(
            prices.supposed, messages_per_vcpu_second=messages_of_vcpu(measured, limits)
        ),
    )
    planned, seen = (
        estimate_month(
            job,
            shape,
            one,
            writes_lake=flags.lake,
            writes_table=True,
            flush_seconds=flags.flush_seconds,
        )
        for one in (prices, here)
    )
    known = limits.by_name
    workers = Job("streaming").most_workers
    pressures = [
        Pressure(
            "Dataflow's most workers by default",
            planned.workers,
            workers,
            "workers",
            f"--max_num_workers {planned.workers}, or larger machines",
        ),
        Pressure(
            known["pull_bytes"].what,
            rate * size,
            known["pull_bytes"].value,
            "bytes a second",
            "a large region, or ask for more",
        ),
        Pressure(
            known["append_bytes"].what,
            rate * messages.bytes_appended / messages.rows,
            known["append_bytes"].value,
            "bytes a second",
            "a dataset in US or EU",
        ),
        Pressure(
            known["append_connections"].what,
            planned.workers * job.machine.cpus * STREAMS_PER_BATCH,
            known["append_connections"].value,
            "connections",
            "a dataset in US or EU, or fewer, larger workers",
        ),
    ]
    if flags.delivery == "exactly_once":
        pressures.append(
            Pressure(
                "write streams an hour, project and region",
                batches * STREAMS_PER_BATCH * 3_600,
                STREAMS_PER_HOUR,
                "streams",
                "larger --max_batch_rows and --max_batch_seconds, then at_least_once",
            )
        )
    if flags.lake:
        entry, row = flush_costs(measured, limits)
        seconds = flags.flush_seconds * (batches * entry + rate * row)
        pressures += [
            Pressure(
                "seconds of a flush, which one worker does",
                seconds,
                flags.flush_seconds,
                "s",
                "larger --max_batch_rows, then no --output: a table alone",
            ),
            Pressure(
                "object writes a second",
                batches,
                known["storage_writes"].value,
                "a second",
                "larger --max_batch_rows",
            ),
        ]
    traffic = [
        Traffic("Pub/Sub", "messages in, and out again", 2 * rate, 2 * rate * size),
        Traffic(
            "BigQuery",
            "appends, of accepted and of rejected rows",
            batches * STREAMS_PER_BATCH,
            rate * messages.bytes_appended / messages.rows,
        ),
    ]
    if flags.lake:
        journal = rate * messages.bytes_written / messages.rows
        traffic += [
            Traffic("Cloud Storage", "writes of the journal", batches, journal),
            Traffic("Cloud Storage", "its reads and deletions", 2 * batches, journal),
        ]
    return StreamForecast(rate, flags, planned, seen, batches, tuple(traffic), tuple(pressures))


def flush_costs(measured: Measured, limits: Limits) -> tuple[float, float]:
    """Seconds that a flush takes for each entry, which it reads and deletes, and for each row."""
    row = measured.stages[FLUSH].cpu_per_row() / of_core(limits)
    return 2 * limits.supposed.request_seconds, row


def flush_pace(flags: StreamFlags, measured: Measured, limits: Limits) -> float:
    """Messages a second that flushes keep up with, however often they are."""
    messages = measured.stages[MESSAGES]
    entry, row = flush_costs(measured, limits)
    in_batch = min(flags.max_batch_rows, BATCH_BYTES * messages.rows / messages.bytes_read)
    return 1 / (entry / in_batch + row)


def messages_of_process(measured: Measured) -> float | None:
    """Messages a second of one process that streams by itself, exactly once and into a lake."""
    stream = measured.stream
    return None if stream is None else stream.messages / stream.seconds[WITH_LAKE]


def messages_of_vcpu(measured: Measured, limits: Limits) -> float:
    """Messages that a vCPU takes in a second, by what was measured here, Dataflow's source too."""
    seconds = measured.stages[MESSAGES].cpu_per_row() + measured.stages[NATIVE].cpu_per_row()
    return of_core(limits) / seconds
