"""A batch run at sizes that were not measured: CSV files in a bucket into a lake there and a table.

``docs/scale.md`` says what is supposed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import msgspec

from benchmarks.scale_limits import Limits
from benchmarks.scale_measured import CSV, Measured, Requests, Stages
from benchmarks.scale_model import MACHINE, Pressure, Traffic, of_core
from benchmarks.scale_services import CLASS_A, DELETE, GET, REWRITE
from celes_beam.config import DEFAULT_REGIONS
from celes_beam.plan.cost import BatchWork, Estimate, estimate_batch
from celes_beam.plan.job import Job
from celes_beam.plan.prices import Prices
from celes_beam.plan.quotas import LOADS_PER_TABLE_AND_DAY
from celes_beam.stores.inputs.read_options import ReadOptions
from celes_beam.stores.lake.gcs_storage import AT_ONCE
from celes_beam.stores.lake.parquet_writer import Layout
from celes_beam.stores.warehouse.plan import FILES_PER_JOB
from celes_beam.transforms.publish import WORKERS_AT_ONCE

FILE_BYTES = 10**9
"""The input is in files of this size."""
COMMIT_PATIENCE_SECONDS = 600.0
"""A commit that takes longer is called a break: ours, published by nobody."""
DAYS = 731
"""Days that the rows are spread over: two years, as generated ones are."""
_REQUESTS_BESIDE_READS = 2


@dataclass(frozen=True)
class BatchForecast:
    """One run of so many rows; ``planned`` by what prices suppose, ``measured`` by what was seen.

    ``files`` are the fewest and the most that are written; ``traffic`` is that of the most.
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
    traffic: tuple[Traffic, ...]
    pressures: tuple[Pressure, ...]

    def seconds(self, estimate: Estimate) -> float:
        """From the launch to the commit of all runs, one after another."""
        return self.runs * (estimate.hours * 3_600 + self.commit_seconds)


def batch_forecast(
    rows: float, measured: Measured, prices: Prices, limits: Limits, *, runs: int = 1
) -> BatchForecast:
    """Forecast ``rows`` rows of CSV, shared out by date to ``runs`` runs one after another."""
    csv, how = measured.stages[CSV], ReadOptions()
    supposed, known = limits.supposed, limits.by_name
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
    # A worker waits for its requests or works for them, whichever is more; the bucket sets a pace.
    of_request = max(
        supposed.request_seconds / AT_ONCE, supposed.request_cpu_seconds / of_core(limits)
    )
    movers = min(WORKERS_AT_ONCE, seen.workers * job.machine.cpus)
    commit = most * serial * max(of_request / movers, 1 / known["storage_writes"].value)
    loads = math.ceil(most / FILES_PER_JOB)
    working = max(1.0, seen.hours * 3_600 - prices.supposed.start_minutes * 60)
    reads = ranges * (how.gcs_range_bytes / how.chunk_bytes + _REQUESTS_BESIDE_READS)
    writes = most * sum(of_file.get(kind, 0.0) for kind in CLASS_A if kind != REWRITE)
    graph = measured.graph
    days = math.ceil(DAYS / runs)
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
        traffic=(
            Traffic("Cloud Storage", "reads", reads / working, text / working),
            Traffic("Cloud Storage", "writes", writes / working, written / working),
            Traffic(
                "Cloud Storage",
                "copies and deletions, by the commit",
                most * serial / max(commit, 1.0),
            ),
            Traffic("BigQuery", "load jobs, in all", loads * runs, written * runs),
        ),
        pressures=tuple(pressures),
    )


def megabytes_of_vcpu(csv: Stages, limits: Limits) -> float:
    """MB of text that a vCPU reads, checks and writes in a second, by what was measured here."""
    return csv.bytes_read / csv.rows / csv.cpu_per_row() / 1e6 * of_core(limits)


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
