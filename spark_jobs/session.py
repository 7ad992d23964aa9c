"""Spark itself: what a session is set to, how it is started and stopped.

All settings of Spark stand here, those for gs:// in ``gcs_settings``.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pyspark import SparkConf, SparkContext
from pyspark.sql import SparkSession

from celes_beam.commands.engine_job import EngineJob
from celes_beam.errors import ConfigError, LocalServerError, MissingProgramError
from celes_beam.stores.cloud.clients import GCS_SCHEME, LOCAL_PROJECT, STORAGE_EMULATOR
from spark_jobs.failures import shortened, spark_errors
from spark_jobs.java import SUBMITTED, end_java, launch_java, no_tracebacks_of_calls

DEFAULT_MEMORY = "2g"
CONNECT_SECONDS = 5.0
WORKER_SECONDS = 60.0
"""How long a cluster may take to give a worker to the job."""

_MADE_JARS = Path(__file__).resolve().parents[1] / ".tools" / "jars"
_CONNECTOR = "com.google.cloud.hadoop.fs.gcs.GoogleHadoopFileSystem"
_CONNECTOR_URL = (
    "https://repo1.maven.org/maven2/com/google/cloud/bigdataoss/gcs-connector/3.1.9/"
    "gcs-connector-3.1.9-shaded.jar"
)
_MEMORY = re.compile(r"(\d+)([mg])b?", re.IGNORECASE)
_LEAST_MEGABYTES = 512
_MASTERS = re.compile(r"local(\[.+\])?|spark://.+|yarn|k8s://.+")
SQL_SETTINGS: Mapping[str, str] = {
    "spark.sql.session.timeZone": "UTC",
    # A region that is called 007 is no number.
    "spark.sql.sources.partitionColumnTypeInference.enabled": "false",
    "spark.sql.caseSensitive": "true",
    # pandas writes nanoseconds, at which Spark stops otherwise.
    "spark.sql.legacy.parquet.nanosAsLong": "true",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.parquet.compression.codec": "zstd",
}


def gcs_settings() -> Mapping[str, str]:
    """What Hadoop must know for gs://: Cloud Storage, or its stand-in on this machine."""
    settings = {
        "fs.gs.impl": _CONNECTOR,
        "fs.AbstractFileSystem.gs.impl": "com.google.cloud.hadoop.fs.gcs.GoogleHadoopFS",
        # Hadoop's defaults have units ("64M"), which the connector takes for no number.
        "fs.gs.block.size": "67108864",
        "fs.gs.rewrite.max.chunk.size": "536870912",
        "fs.gs.outputstream.buffer.size": "8388608",
        "fs.gs.inputstream.inplace.seek.limit": "8388608",
        "fs.gs.inputstream.min.range.request.size": "2097152",
        "parquet.hadoop.vectored.io.enabled": "false",
    }
    emulator = os.environ.get(STORAGE_EMULATOR)
    if emulator:
        url = emulator if "://" in emulator else f"http://{emulator}"
        settings |= {
            "fs.gs.storage.root.url": f"{url.rstrip('/')}/",
            "fs.gs.storage.service.path": "/storage/v1/",
            "fs.gs.project.id": LOCAL_PROJECT,
            "fs.gs.auth.type": "UNAUTHENTICATED",
            # It knows neither moves nor batches of requests.
            "fs.gs.operation.move.enable": "false",
            "fs.gs.max.requests.per.batch": "1",
            "fs.gs.batch.threads": "0",
        }
    else:
        settings["fs.gs.auth.type"] = "APPLICATION_DEFAULT"
    return {f"spark.hadoop.{name}": value for name, value in settings.items()}


@contextmanager
def spark_session(job: EngineJob) -> Iterator[SparkSession]:
    """A session for a job: of the Spark that runs in this process already, or of one started now.

    Raises ``MissingProgramError`` without Java or Google's connector, ``ConfigError`` for a master
    that does not answer, and ``LocalServerError`` when Spark does not start.
    """
    _check_flags(job.flags)
    running = SparkSession.getActiveSession()
    if running is not None:
        with spark_errors(job):
            yield _ready(running.newSession(), job)
        return
    with tempfile.TemporaryDirectory(prefix="spark-log-") as folder, no_tracebacks_of_calls():
        log = Path(folder) / "spark.log"
        log.touch()
        try:
            context = _start(job, log)
            try:
                with spark_errors(job, log):
                    yield _ready(SparkSession(context), job)
            except Exception:
                context.stop()
                raise
            else:
                context.stop()
        except KeyboardInterrupt:
            # A call that was cut short cannot be followed by one that stops it.
            end_java()
            raise


def _ready(spark: SparkSession, job: EngineJob) -> SparkSession:
    for name, value in SQL_SETTINGS.items():
        spark.conf.set(name, value)
    hadoop = spark.sparkContext._jsc.hadoopConfiguration()
    if (
        _needs_connector(job, spark.sparkContext.master)
        and hadoop.getClassByNameOrNull(_CONNECTOR) is None
    ):
        raise MissingProgramError(
            "Spark needs Google's connector for gs://: make spark-jars brings it where the source "
            f"is; else give --jars {_CONNECTOR_URL} (to spark-submit, where that is used)"
        )
    return spark


def _needs_connector(job: EngineJob, master: str) -> bool:
    # What comes of a job is sent by this process, but for rows that a cluster has sorted.
    reads = job.options.input.startswith(GCS_SCHEME)
    writes = job.options.write_sorted and not master.startswith("local")
    return reads or (writes and (job.options.target.output or "").startswith(GCS_SCHEME))


def _start(job: EngineJob, log: Path) -> SparkContext:
    flags = job.flags
    settings: dict[str, str] = {}
    if SUBMITTED not in os.environ:
        settings = launch_settings(flags.master, flags.memory, flags.jars)
    if flags.master:
        settings["spark.master"] = flags.master
    context = start_spark(settings, gcs_settings(), log)
    try:
        _wait_for_worker(context, flags.memory)
    except Exception:
        context.stop()
        raise
    return context


def _check_flags(flags: argparse.Namespace) -> None:
    master, memory = flags.master, flags.memory
    if master is not None:
        if not _MASTERS.fullmatch(master):
            raise ConfigError(
                f"--master {master}: expected local[N], spark://HOST:PORT, yarn or k8s://ADDRESS"
            )
        _check_master(master)
    if memory is not None:
        size = _MEMORY.fullmatch(memory)
        if size is None or int(size[1]) * (1024 if size[2] in "gG" else 1) < _LEAST_MEGABYTES:
            raise ConfigError(f"--memory {memory}: expected at least {_LEAST_MEGABYTES}m, or 4g")
    if (memory or flags.jars) and (SUBMITTED in os.environ or SparkSession.getActiveSession()):
        raise ConfigError(
            "--memory and --jars are too late here, since Spark runs already: give spark-submit "
            "--driver-memory, --executor-memory or --jars, before the program"
        )


def launch_settings(master: str | None, memory: str | None, jars: str | None) -> dict[str, str]:
    """What Spark must be told to start in, or from, this process."""
    master = master or "local[*]"
    is_local = master.startswith("local")
    found = jars or ",".join(map(str, sorted(_MADE_JARS.glob("*.jar"))))
    settings = {
        "spark.master": master,
        "spark.log.level": "ERROR",
        "spark.ui.showConsoleProgress": "false",
    }
    if is_local:
        settings |= {"spark.ui.enabled": "false", "spark.driver.memory": memory or DEFAULT_MEMORY}
    elif memory:
        settings["spark.executor.memory"] = memory
    if is_local or all(_is_loopback(host) for host, _ in _addresses(master)):
        settings |= {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
    return settings | ({"spark.jars": found} if found else {})


def start_spark(
    settings: Mapping[str, str], preferred: Mapping[str, str], log: Path
) -> SparkContext:
    """Start Spark with some settings, and with others where nothing else was configured.

    What Java has to say goes to ``log``, unless spark-submit has started it.
    """
    # It outlives a context, for the next one.
    gateway = SparkContext._gateway or launch_java(settings, log)
    conf = SparkConf(_jvm=gateway.jvm)
    conf.setAll(list(settings.items()))
    for name, value in preferred.items():
        conf.setIfMissing(name, value)
    _check_master(conf.get("spark.master", ""))
    try:
        with _own_interrupt():
            context = SparkContext(conf=conf, gateway=gateway)
    except Exception as error:
        raise LocalServerError(f"Spark did not start: {shortened(str(error))}") from error
    context.setLogLevel("ERROR")
    return context


@contextmanager
def _own_interrupt() -> Iterator[None]:
    """Take Ctrl-C back from a new context, which calls Java within a call that goes on."""
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, before)


def _check_master(master: str) -> None:
    """Raise unless one of the addresses of a standalone cluster answers: Spark takes a minute."""
    addresses = _addresses(master)
    for host, port in addresses:
        try:
            socket.create_connection((host, port), CONNECT_SECONDS).close()
        except OSError:
            continue
        return
    if addresses:
        raise ConfigError(
            f"--master {master}: nothing answers there; start a master, or leave it out to run "
            "Spark on this machine"
        )


def _addresses(master: str) -> list[tuple[str, int]]:
    if not master.startswith("spark://"):
        return []
    found = []
    for address in master.removeprefix("spark://").split(","):
        host, _, port = address.rpartition(":")
        if not host or not port.isdigit():
            raise ConfigError(f"--master {master}: expected spark://HOST:PORT, such as port 7077")
        found.append((host.strip("[]"), int(port)))
    return found


def _is_loopback(host: str) -> bool:
    return host == "localhost" or host.startswith("127.")


def _wait_for_worker(context: SparkContext, memory: str | None) -> None:
    """Raise unless a standalone cluster gives the job a worker: Spark would wait for ever."""
    if not context.master.startswith("spark://"):
        return
    deadline = time.monotonic() + WORKER_SECONDS
    # The driver is among them.
    while context._jsc.sc().getExecutorMemoryStatus().size() < 2:
        if time.monotonic() > deadline:
            raise LocalServerError(
                f"--master {context.master}: no worker took the job in {WORKER_SECONDS:.0f} s: "
                f"perhaps none is free, or none has the --memory{f' {memory}' if memory else ''}"
            )
        time.sleep(0.1)
