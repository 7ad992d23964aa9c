"""What a run would take at sizes that were not measured, out of what each row and request takes.

Batch is reckoned for CSV files in a bucket into a lake there and a table; a stream for Dataflow
into a table and a lake. ``docs/scale.md`` says what is supposed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from benchmarks.scale_limits import Limits
from benchmarks.scale_measured import CSV, FLUSH, MESSAGES, NATIVE, Measured, Requests, Run, Stages
from benchmarks.scale_services import CLASS_A, DELETE, GET, REWRITE
from celes_beam.config import DEFAULT_REGIONS
from celes_beam.plan.cost import BatchWork, Estimate, estimate_batch, estimate_month
from celes_beam.plan.job import Job
from celes_beam.plan.prices import Prices
from celes_beam.plan.quotas import LOADS_PER_TABLE_AND_DAY
from celes_beam.plan.refusals import STREAMS_PER_BATCH, STREAMS_PER_HOUR, StreamShape
from celes_beam.stores.inputs.read_options import ReadOptions
from celes_beam.stores.lake.gcs_storage import AT_ONCE
from celes_beam.stores.lake.parquet_writer import Layout
from celes_beam.stores.warehouse.plan import FILES_PER_JOB

MACHINE = "n2-standard-2"
FILE_BYTES = 10**9
"""The input is in files of this size."""
COMMIT_PATIENCE_SECONDS = 600.0
"""A commit that takes longer is called a break: ours, published by nobody."""
BATCH_BYTES = 8 * 2**20
"""A batch of messages holds no more, whatever ``--max_batch_rows`` says."""
DAYS = 731
"""Days that the rows are spread over: two years, as generated ones are."""
_REQUESTS_BESIDE_READS = 2


@dataclass(frozen=True)
class Pressure:
    """How much of a limit is needed, and what to do when that is too much."""

    what: str
    needed: float
    limit: float
    unit: str
    remedy: str

    @property
    def share(self) -> float:
        """The part of the limit."""
        return self.needed / self.limit

    @property
    def breaks(self) -> bool:
        """Whether it is more than there may be."""
        return self.share > 1


def worst(pressures: Sequence[Pressure]) -> Pressure:
    """The one that breaks first."""
    return max(pressures, key=lambda one: one.share)


def predicted_seconds(stages: Stages, few: Run, rows: float, slots: int) -> float:
    """Seconds of a pipeline on the machine that was measured: a fixed part, and one for each row.

    ``few`` is a run of few rows, which tells the fixed part.
    """
    per_row = stages.per_row(min(slots, max(stages.whole)))
    return max(0.0, few.middle - per_row * few.rows) + per_row * rows


@dataclass(frozen=True)
class BatchForecast:
    """One run of so many rows; ``planned`` by what prices suppose, ``measured`` by what was seen.

    ``files`` are the fewest and the most that are written; ``requests`` a second to Cloud Storage
    while workers write, at most, by kind.
    """

    rows: float
    text_bytes: float
    runs: int
    planned: Estimate
    measured: Estimate
    files: tuple[float, float]
    manifest_bytes: float
    commit_seconds: float
    load_jobs: float
    requests: dict[str, float]
    pressures: tuple[Pressure, ...]

    def seconds(self, estimate: Estimate) -> float:
        """From the launch to the commit of all runs, one after another."""
        return self.runs * (estimate.hours * 3_600 + self.commit_seconds)


def batch_forecast(
    rows: float, measured: Measured, prices: Prices, limits: Limits, *, runs: int = 1
) -> BatchForecast:
    """Forecast ``rows`` rows of CSV, shared out by date to ``runs`` runs one after another."""
    csv, how, supposed = measured.stages[CSV], ReadOptions(), limits.supposed
    mine = rows / runs
    text = mine * csv.bytes_read / csv.rows
    inputs = math.ceil(text / FILE_BYTES)
    job = Job("batch", machine_type=MACHINE)
    work = BatchWork(text, mine, inputs, writes_table=True)
    here = msgspec.structs.replace(
        prices,
        supposed=msgspec.structs.replace(
            prices.supposed, mb_per_vcpu_second=megabytes_of_vcpu(csv, limits)
        ),
    )
    planned, seen = (estimate_batch(job, work, one) for one in (prices, here))
    ranges = math.ceil(text / how.gcs_range_bytes)
    written = mine * csv.bytes_written / csv.rows
    at_once = min(ranges, seen.workers * job.machine.cpus)
    most = float(ranges * len(DEFAULT_REGIONS))
    least = max(written / Layout().target_file_bytes, float(at_once * len(DEFAULT_REGIONS)))
    of_file = requests_of_file(measured)
    serial = sum(of_file.get(kind, 0.0) for kind in (REWRITE, DELETE, GET))
    commit = most * serial * supposed.request_seconds / AT_ONCE
    loads = math.ceil(most / FILES_PER_JOB)
    working = max(1.0, seen.hours * 3_600 - prices.supposed.start_minutes * 60)
    reads = ranges * (how.gcs_range_bytes / how.chunk_bytes + _REQUESTS_BESIDE_READS)
    writes = most * sum(of_file.get(kind, 0.0) for kind in CLASS_A if kind != REWRITE)
    graph = measured.graph
    days = math.ceil(DAYS / runs)
    known = limits.by_name
    pressures = [
        Pressure(
            "seconds of the commit (our own bound)",
            commit,
            COMMIT_PATIENCE_SECONDS,
            "s",
            "several runs by date with --if_exists append, or larger files",
        ),
        Pressure(
            "load jobs of the table in a day",
            loads * runs,
            LOADS_PER_TABLE_AND_DAY,
            "jobs",
            "fewer and larger files: several runs by date",
        ),
        Pressure(
            known["partition_changes_a_day"].what,
            loads * runs * days,
            known["partition_changes_a_day"].value,
            "changes",
            "several runs by date, each of which has few days",
        ),
        Pressure(
            known["partitions_of_a_job"].what,
            days,
            known["partitions_of_a_job"].value,
            "partitions",
            "several runs by date",
        ),
        Pressure(
            "object writes a second",
            writes / working,
            known["storage_writes"].value,
            "a second",
            "fewer --max_num_workers, or larger files",
        ),
        Pressure(
            "object reads a second",
            reads / working,
            known["storage_reads"].value,
            "a second",
            "fewer --max_num_workers",
        ),
    ]
    if graph is not None:
        pressures.append(
            Pressure(
                "bytes of the job's graph, files",
                graph.fixed + graph.a_file * inputs,
                known["graph_bytes"].value,
                "bytes",
                "fewer, larger input files; several runs",
            )
        )
    return BatchForecast(
        rows=rows,
        text_bytes=text * runs,
        runs=runs,
        planned=planned,
        measured=seen,
        files=(least * runs, most * runs),
        manifest_bytes=most * bytes_of_file(measured),
        commit_seconds=commit,
        load_jobs=loads * runs,
        requests={"write": writes / working, "read": reads / working},
        pressures=tuple(pressures),
    )


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
    pressures: tuple[Pressure, ...]


def stream_forecast(
    rate: float, flags: StreamFlags, measured: Measured, prices: Prices, limits: Limits
) -> StreamForecast:
    """Forecast a stream of ``rate`` messages a second of the size that was measured."""
    messages, flush = measured.stages[MESSAGES], measured.stages[FLUSH]
    size = messages.bytes_read / messages.rows
    batches = flags.batches_a_second(rate, size)
    job = Job("streaming", machine_type=MACHINE, max_workers=1_000_000)
    shape = StreamShape(flags.delivery, flags.max_batch_rows, flags.max_batch_seconds, rate)
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
            message_bytes=size,
            writes_lake=flags.lake,
            writes_table=True,
            flush_seconds=flags.flush_seconds,
        )
        for one in (prices, here)
    )
    known, supposed = limits.by_name, limits.supposed
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
        entries = batches * flags.flush_seconds
        vcpu = supposed.cores_of_vcpu * supposed.pace_of_core * supposed.python_share
        seconds = entries * 2 * supposed.request_seconds
        seconds += rate * flags.flush_seconds * flush.per_row() / vcpu
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
    return StreamForecast(rate, flags, planned, seen, batches, tuple(pressures))


def megabytes_of_vcpu(csv: Stages, limits: Limits) -> float:
    """MB of text that a vCPU reads, checks and writes in a second, by what was measured here."""
    return csv.bytes_read / csv.rows / csv.per_row() / 1e6 * _of_core(limits)


def messages_of_vcpu(measured: Measured, limits: Limits) -> float:
    """Messages that a vCPU takes in a second, by what was measured here, Dataflow's source too."""
    seconds = measured.stages[MESSAGES].per_row() + measured.stages[NATIVE].per_row()
    return _of_core(limits) / seconds


def _of_core(limits: Limits) -> float:
    supposed = limits.supposed
    return supposed.cores_of_vcpu * supposed.pace_of_core * supposed.python_share


def requests_of_file(measured: Measured) -> dict[str, float]:
    """Requests of each kind that one more file of a run takes."""
    few, many = _few_and_many(measured)
    kinds = few.requests.keys() | many.requests.keys()
    more = many.files - few.files
    return {kind: (many.requests.get(kind, 0) - few.requests.get(kind, 0)) / more for kind in kinds}


def bytes_of_file(measured: Measured) -> float:
    """Bytes that one more file adds to the decision of a run."""
    few, many = _few_and_many(measured)
    return (many.manifest_bytes - few.manifest_bytes) / (many.files - few.files)


def _few_and_many(measured: Measured) -> tuple[Requests, Requests]:
    runs = sorted(measured.requests, key=lambda one: one.files)
    return runs[0], runs[-1]
