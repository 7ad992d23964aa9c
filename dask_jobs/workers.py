"""Where the work is done: worker processes on this machine, or those of a running cluster."""

from __future__ import annotations

import importlib
import logging
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from multiprocessing import resource_tracker
from pathlib import Path

import dask
from dask.utils import parse_bytes
from distributed import Client, KilledWorker, LocalCluster

from celes_beam.commands.engine_job import EngineJob
from celes_beam.commands.interrupts import interrupts_wait
from celes_beam.errors import ConfigError, StorageError, UsageError
from celes_beam.stores.cloud.clients import GCS_SCHEME

MEMORY_LIMIT = "2GiB"
_HERE = "127.0.0.1"
_CONNECT_SECONDS = 15
# Of a task that failed Dask logs a traceback, and of a shuffle that it began: the error itself, or
# the result, says enough.
SILENT = logging.CRITICAL + 1


@contextmanager
def session(job: EngineJob) -> Iterator[Client]:
    """A client of the workers that the flags ask for; those started here are stopped at the end.

    Raises ``UsageError`` for a scheduler that does not answer, or whose workers cannot do the job.
    """
    flags = job.flags
    if flags.scheduler is None:
        with _silence(), _local(job) as cluster, Client(cluster, set_as_default=True) as client:
            yield client
        return
    for name in ("workers", "memory_limit"):
        if getattr(flags, name) is not None:
            raise ConfigError(
                f"--{name} is about workers started here, and --scheduler {flags.scheduler} has "
                "its own: leave one of the two out"
            )
    with _silence(), _connected(flags.scheduler) as client:
        _check_workers(client, job)
        yield client


@contextmanager
def _silence() -> Iterator[None]:
    """Let Dask log nothing in this process; it would tell of each step, and of each lost worker."""
    loggers = [logging.getLogger(name) for name in ("distributed", "distributed.client", "asyncio")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(SILENT)
    try:
        yield
    except Exception:
        # Not after an interrupt: what was cut short complains until the very end of the process.
        _set_levels(loggers, levels)
        raise
    else:
        _set_levels(loggers, levels)


def _set_levels(loggers: Sequence[logging.Logger], levels: Sequence[int]) -> None:
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


@contextmanager
def _local(job: EngineJob) -> Iterator[LocalCluster]:
    limit = job.flags.memory_limit or MEMORY_LIMIT
    try:
        parse_bytes(limit)
    except ValueError as error:
        raise ConfigError(f"--memory_limit {limit}: expected a size, such as 2GiB") from error
    with ExitStack() as stack:
        # What does not fit in memory, and what is shuffled, goes to the disk of the job.
        stack.enter_context(dask.config.set({"temporary-directory": job.folder}))
        with _interrupts_wait():
            cluster = LocalCluster(
                n_workers=job.flags.workers or os.cpu_count() or 1,
                threads_per_worker=1,
                processes=True,
                memory_limit=limit,
                host=_HERE,
                dashboard_address=f"{_HERE}:0",
                scheduler_kwargs={"dashboard": False},
                local_directory=str(Path(job.folder) / "workers"),
                silence_logs=SILENT,
            )
            stack.enter_context(cluster)
        yield cluster


@contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Hold an interrupt back until the workers stand, for half a cluster cannot be closed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with interrupts_wait():
        # A Ctrl-C goes to all processes of a terminal, but is for this one alone, which stops the
        # others. Threads and processes that begin now inherit that it is blocked; the first process
        # that multiprocessing starts would unblock it, so that one is started before.
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])


@contextmanager
def _connected(address: str) -> Iterator[Client]:
    try:
        client = Client(address, timeout=_CONNECT_SECONDS, set_as_default=True)
    except (OSError, ValueError, TypeError, ImportError) as error:
        raise UsageError(
            f"--scheduler {address}: no scheduler of Dask answers there ({_first_line(error)}): "
            "give the address that it logs when it starts, such as tcp://10.0.0.5:8786"
        ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=_CONNECT_SECONDS)
        except TimeoutError as error:
            raise UsageError(
                f"--scheduler {address} has no workers: start some, with dask worker {address}"
            ) from error
        yield client


def _check_workers(client: Client, job: EngineJob) -> None:
    """Raise ``UsageError`` unless all workers have this package, and see what they must."""
    address = job.flags.scheduler
    for worker, lacking in client.run(_lacking_module).items():
        if lacking is not None:
            raise UsageError(
                f"--scheduler {address}: worker {worker} cannot import {lacking}: install "
                "'celes-beam[dask]' there, the same version as here"
            )
    paths = [file.path for file in job.files[:1] if not file.path.startswith(GCS_SCHEME)]
    if job.options.write_sorted:
        paths.append(job.folder)
    for path in paths:
        for worker, is_there in client.run(os.path.exists, path).items():
            if not is_there:
                raise UsageError(
                    f"--scheduler {address}: worker {worker} does not see {path}: give folders "
                    "that all its workers share, or leave --scheduler out to start some here"
                )


def _lacking_module() -> str | None:
    for module in ("pandas", "gcsfs", "celes_beam.stores.lake.engine_files", "dask_jobs.pieces"):
        try:
            importlib.import_module(module)
        except ImportError as error:
            return str(error.name or module)
    return None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def gave_up(error: Exception, job: EngineJob) -> StorageError:
    """What to say when Dask gave up on its workers, or its scheduler went away."""
    limit = job.flags.memory_limit or MEMORY_LIMIT
    remedy = (
        f"look at the workers of --scheduler {job.flags.scheduler}"
        if job.flags.scheduler
        else f"give more than --memory_limit {limit}, or fewer --workers"
    )
    what = (
        "one worker after another died at the same piece of the input"
        if isinstance(error, KilledWorker)
        else f"Dask lost its scheduler: {_first_line(error)}"
    )
    return StorageError(f"{what}; {remedy}, and run again")
