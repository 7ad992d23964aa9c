"""Java, in which Spark runs: started beside this process, and ended with it for sure."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pyspark import SparkConf, SparkContext, java_gateway

from celes_beam.commands.interrupts import interrupts_wait
from celes_beam.errors import LocalServerError, MissingProgramError
from celes_beam.local.processes import last_lines

SUBMITTED = "PYSPARK_GATEWAY_PORT"
"""Set by spark-submit, which has started Java then."""

_POLITE_SECONDS = 5.0
_REMEDIES = {
    "UnsupportedClassVersionError": "; it needs Java 17 or newer",
    "Unrecognized option": "; it needs Java 17 or newer",
    "object heap": "; give less --memory",
}


def launch_java(settings: Mapping[str, str], log: Path) -> Any:
    """Start Java with some settings of Spark, its output to ``log``, and give py4j's gateway to it.

    Raises ``MissingProgramError`` without Java, and ``LocalServerError`` when it does not start.
    """
    if SUBMITTED in os.environ:
        return java_gateway.launch_gateway()
    if not (os.environ.get("JAVA_HOME") or shutil.which("java")):
        raise MissingProgramError(
            "Spark needs Java 17 or newer: install one, such as openjdk-17-jre-headless"
        )
    # Its workers must be this Python, and it must come from this package.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    conf = SparkConf(loadDefaults=False).setAll(list(settings.items()))
    with log.open("wb") as output, _not_left_half_way():
        try:
            return java_gateway.launch_gateway(conf, {"stdout": output, "stderr": output})
        except Exception as error:
            said = last_lines(log)
            remedy = next((_REMEDIES[words] for words in _REMEDIES if words in said), "")
            raise LocalServerError(f"Spark did not start: {said}{remedy}") from error


def end_java() -> None:
    """End the Java that was started here, with all that runs in it; the next one starts anew.

    That of spark-submit ends by itself after this process.
    """
    gateway = SparkContext._gateway
    SparkContext._gateway = SparkContext._jvm = SparkContext._active_spark_context = None
    if gateway is not None and gateway.proc is not None:
        _end(gateway.proc)


@contextmanager
def no_tracebacks_of_calls() -> Iterator[None]:
    """Let py4j log none of the calls that failed or were interrupted, which we explain."""
    root, own = logging.getLogger(), logging.getLogger("py4j")
    level = own.level
    own.setLevel(logging.CRITICAL + 1)
    # Some it tells the root itself.
    root.addFilter(_is_no_call)
    try:
        yield
    except KeyboardInterrupt:
        # What was cut short complains until the very end of the process.
        raise
    except BaseException:
        _tell_again(root, own, level)
        raise
    else:
        _tell_again(root, own, level)


def _tell_again(root: logging.Logger, own: logging.Logger, level: int) -> None:
    root.removeFilter(_is_no_call)
    own.setLevel(level)


def _is_no_call(record: logging.LogRecord) -> bool:
    return record.module != "java_gateway"


@contextmanager
def _not_left_half_way() -> Iterator[None]:
    """End the process that pyspark starts in the body unless it gets to know it.

    It forgets a Java that was still starting, which then waits for ever.
    """
    started: list[subprocess.Popen[bytes]] = []

    def start(*args: Any, **kwargs: Any) -> subprocess.Popen[bytes]:
        with interrupts_wait():
            started.append(subprocess.Popen(*args, **kwargs))
        return started[-1]

    before, java_gateway.Popen = java_gateway.Popen, start
    try:
        yield
    except BaseException:
        for process in started:
            _end(process)
        raise
    finally:
        java_gateway.Popen = before


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process, politely first, so that it removes its folders."""
    process.terminate()
    try:
        process.wait(_POLITE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
