"""The engines that can be compared: what is run for each, and whether this machine has it."""

from __future__ import annotations

import importlib.util
import os
import shutil
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from celes_beam.errors import ConfigError
from celes_beam.stores.cloud.clients import GCS_SCHEME


@dataclass(frozen=True)
class Engine:
    """``program`` is run as ``python -m``; ``packages`` are what it imports, the engine's first.

    A package is the name of a module and that of its distribution; ``bucket_modules`` are needed as
    well below gs://. ``install`` is the command that brings them all. An engine ``of_table`` asks a
    table of BigQuery, and reads no files.
    """

    name: str
    program: str
    packages: tuple[tuple[str, str], ...]
    install: str
    bucket_modules: tuple[str, ...] = ()
    of_table: bool = False
    needs_java: bool = False

    @property
    def version(self) -> str:
        """The version of the engine here, or nothing when it is not known."""
        try:
            return version(self.packages[0][1])
        except PackageNotFoundError:
            return ""

    def missing(self, root: str) -> str | None:
        """What reading ``root`` needs and is not here, and how to install it, or ``None``."""
        needed = [module for module, _ in self.packages]
        needed += self.bucket_modules if root.startswith(GCS_SCHEME) else ()
        modules = [(module, self.install) for module in needed]
        # Jobs of other engines are packages of their own, which may have been left out.
        modules.append((self.program, "install celes-beam as a whole"))
        for module, remedy in modules:
            if not _is_there(module):
                return f"{module} is not installed: {remedy}"
        if self.needs_java and not _has_java():
            return (
                "Java is not installed: apt-get install openjdk-17-jre-headless, or set JAVA_HOME"
            )
        return None


def _extra(name: str) -> str:
    return f"pip install 'celes-beam[{name}]'"


_PANDAS = ("pandas", "pandas")
_DASK = (("dask", "dask"), ("dask.dataframe", "dask"), ("distributed", "distributed"), _PANDAS)
_GCSFS = ("gcsfs",)
ENGINES: dict[str, Engine] = {
    engine.name: engine
    for engine in (
        Engine("pandas", "pandas_jobs.aggregate", (_PANDAS,), _extra("pandas"), _GCSFS),
        Engine("dask", "dask_jobs.aggregate", _DASK, _extra("dask"), _GCSFS),
        Engine(
            "spark",
            "spark_jobs.aggregate",
            (("pyspark", "pyspark"),),
            _extra("spark"),
            needs_java=True,
        ),
        Engine(
            "beam",
            "pipelines.aggregate",
            (("apache_beam", "apache-beam"),),
            "pip install celes-beam",
        ),
        Engine("polars", "celes_beam.engines.polars", (("polars", "polars"),), _extra("engines")),
        Engine("duckdb", "celes_beam.engines.duckdb", (("duckdb", "duckdb"),), _extra("engines")),
        Engine(
            "bigquery",
            "celes_beam.engines.bigquery",
            (("google.cloud.bigquery", "google-cloud-bigquery"),),
            "pip install celes-beam",
            of_table=True,
        ),
    )
}


def engines_named(names: tuple[str, ...]) -> tuple[Engine, ...]:
    """The engines of these names, in this order. Raises ``ConfigError`` for one not known."""
    for name in names:
        if name not in ENGINES:
            raise ConfigError(f"--engines {name}: expected some of {', '.join(ENGINES)}")
        if names.count(name) > 1:
            raise ConfigError(
                f"--engines: {name} stands there {names.count(name)} times; once will do"
            )
    return tuple(ENGINES[name] for name in names)


def _is_there(module: str) -> bool:
    """Whether a module could be imported; imports no more than the packages around it."""
    try:
        return importlib.util.find_spec(module) is not None
    except ImportError:
        return False


def _has_java() -> bool:
    home = os.environ.get("JAVA_HOME")
    return shutil.which("java", path=f"{home}/bin" if home else None) is not None
