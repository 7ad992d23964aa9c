"""What a batch run, or a month of a stream, would cost; docs/cost.md has the formulas."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from celes_beam.errors import ConfigError
from celes_beam.plan.job import Job
from celes_beam.plan.prices import Prices, Workers
from celes_beam.plan.refusals import StreamShape

_GB = 1e9
_GIB = 2.0**30
_COMPRESSED = (".gz", ".zst", ".zstd", ".bz2")
_SECONDS_PER_HOUR = 3_600.0


@dataclass(frozen=True)
class Line:
    """One line of a bill: so much of what, at which price for one; ``free`` is taken off first."""

    name: str
    quantity: float
    unit: str
    price: float
    free: float = 0.0

    @property
    def amount(self) -> float:
        """What it costs."""
        return max(0.0, self.quantity - self.free) * self.price


@dataclass(frozen=True)
class Estimate:
    """Lines, their sum, and what was supposed; ``workers`` run for ``hours``, each."""

    title: str
    currency: str
    workers: int
    hours: float
    lines: tuple[Line, ...]
    supposed: tuple[str, ...]

    @property
    def total(self) -> float:
        """The sum."""
        return math.fsum(line.amount for line in self.lines)


@dataclass(frozen=True)
class BatchWork:
    """What a batch run does: bytes of text to read (or rows to make), from and into files."""

    text_bytes: float
    rows: float
    files: int
    writes_table: bool


def work_of(
    files: Iterable[tuple[str, int]], prices: Prices, *, rows: int | None, writes_table: bool
) -> BatchWork:
    """The work of reading files, given as path and bytes, or of making ``rows`` without any."""
    supposed = prices.supposed
    if rows is not None:
        return BatchWork(rows * supposed.bytes_per_row, float(rows), 0, writes_table)
    text, count = 0.0, 0
    for path, size in files:
        count += 1
        name = path.lower()
        packed = name.endswith(_COMPRESSED)
        columnar = ".parquet" in name.rsplit("/", 1)[-1]
        factor = supposed.unpacked_compressed if packed else 1.0
        text += size * (supposed.unpacked_parquet if columnar else factor)
    return BatchWork(text, text / supposed.bytes_per_row, count, writes_table)


def estimate_batch(job: Job, work: BatchWork, prices: Prices) -> Estimate:
    """What one run costs, and then a month of keeping what it wrote."""
    supposed, machine = prices.supposed, job.machine
    # Dataflow adds workers while there is work for minutes; the sum hardly depends on how many.
    vcpu_seconds = work.text_bytes / (supposed.mb_per_vcpu_second * 1e6)
    wanted = math.ceil(vcpu_seconds / machine.cpus / (supposed.start_minutes * 60) or 1)
    workers = max(job.least_workers, min(wanted, job.most_workers))
    hours = (
        supposed.start_minutes * 60 + vcpu_seconds / (workers * machine.cpus)
    ) / _SECONDS_PER_HOUR
    rates = prices.dataflow_flexrs if job.flexrs else prices.dataflow_batch
    written = work.rows * supposed.lake_bytes_per_row
    lines = [
        *_workers(job, rates, workers, hours),
        # What crosses the shuffle are descriptions, some hundred bytes of a file.
        Line("shuffle", work.files * 1e3 / _GB, "GB", rates.shuffle_gb),
        Line(
            "reads of objects", max(work.files, 1) * 4 / 1e3, "1,000", prices.storage.class_b_1000
        ),
        Line("writes of objects", (workers * 12 + 50) / 1e3, "1,000", prices.storage.class_a_1000),
        Line("lake, a month", written / _GB, "GB", prices.storage.gb_month),
    ]
    if work.writes_table:
        stored = work.rows * supposed.table_bytes_per_row / _GIB
        lines.append(Line("table, a month", stored, "GiB", prices.bigquery.storage_gib_month))
    return Estimate(
        f"a run of {work.text_bytes / _GB:,.2f} GB of text, {work.rows:,.0f} rows",
        prices.currency,
        workers,
        hours,
        tuple(lines),
        (
            f"{supposed.mb_per_vcpu_second:g} MB/s of text on a vCPU",
            f"{supposed.start_minutes:g} minutes for each worker to start and end",
        ),
    )


def estimate_month(
    job: Job,
    shape: StreamShape,
    prices: Prices,
    *,
    writes_lake: bool,
    writes_table: bool,
    flush_seconds: float,
) -> Estimate:
    """What a month of a stream costs at ``shape.rate``, and of keeping what it wrote.

    Raises ``ConfigError`` when the workers that may be had are too few for the rate.
    """
    supposed, machine = prices.supposed, job.machine
    rate, hours = shape.rate or 0.0, supposed.month_hours
    seconds = hours * _SECONDS_PER_HOUR
    messages = rate * seconds
    wanted = math.ceil(rate / (supposed.messages_per_vcpu_second * machine.cpus)) or 1
    if wanted > job.most_workers:
        raise ConfigError(
            f"--rate {rate:g} takes about {wanted} workers of {machine.name}, and "
            f"--max_num_workers is {job.most_workers}: give --max_num_workers {wanted}, or larger "
            "machines"
        )
    workers = max(job.least_workers, wanted)
    # A message crosses the engine when it is read, gathered, and made stable; once more when
    # streams are opened for its batch.
    passes = 4 if shape.delivery == "exactly_once" else 3
    volume = messages * shape.message_bytes
    pubsub, bigquery, storage = prices.pubsub, prices.bigquery, prices.storage
    lines = [
        *_workers(job, prices.dataflow_streaming, workers, hours),
        Line("engine", passes * volume / _GB, "GB", prices.dataflow_streaming.shuffle_gb),
        Line(
            "messages, in and out",
            2 * volume / 2**40,
            "TiB",
            pubsub.throughput_tib,
            pubsub.free_gib_month / 1024,
        ),
    ]
    if writes_table:
        lines += [
            Line(
                "rows written",
                messages * supposed.table_bytes_per_row / _GIB,
                "GiB",
                bigquery.write_gib,
                bigquery.free_write_gib_month,
            ),
            Line(
                "table, a month",
                messages * supposed.table_bytes_per_row / _GIB,
                "GiB",
                bigquery.storage_gib_month,
                bigquery.free_storage_gib,
            ),
        ]
    if writes_lake:
        batches = shape.batches_per_second * seconds
        commits = seconds / max(flush_seconds, 1.0) if rate else 0.0
        lines += [
            # Each batch is a file of the journal; each commit some files, its decision and marks.
            Line(
                "writes of objects", (batches + commits * 16) / 1e3, "1,000", storage.class_a_1000
            ),
            Line("reads of objects", (batches + commits * 8) / 1e3, "1,000", storage.class_b_1000),
            Line(
                "lake, a month",
                messages * supposed.lake_bytes_per_row / _GB,
                "GB",
                storage.gb_month,
            ),
        ]
    keys = {key for key in (job.kms_key, job.table_kms_key) if key}
    if keys:
        lines.append(Line("keys", len(keys), "versions", prices.kms.key_version_month))
    return Estimate(
        f"a month at {rate:,g} messages a second of {shape.message_bytes:g} bytes",
        prices.currency,
        workers,
        hours,
        tuple(lines),
        (
            f"{supposed.messages_per_vcpu_second:,g} messages a second on a vCPU",
            f"{passes} times through Streaming Engine",
        ),
    )


def _workers(job: Job, rates: Workers, workers: int, hours: float) -> list[Line]:
    machine, worked = job.machine, workers * hours
    disk = rates.ssd_gb_hour if job.is_ssd else rates.disk_gb_hour
    return [
        Line("vCPUs", worked * machine.cpus, "hours", rates.vcpu_hour),
        Line("memory", worked * machine.memory_gb, "GB hours", rates.memory_gb_hour),
        Line("disks", worked * job.disk_gb, "GB hours", disk),
    ]
