from __future__ import annotations

import dataclasses
import importlib

import pytest

from celes_beam.compare.catalog import ENGINES, Engine, engines_named
from celes_beam.errors import ConfigError


def test_what_is_installed_is_not_missing() -> None:
    for name in ("pandas", "beam", "polars", "duckdb", "bigquery"):
        assert ENGINES[name].missing("lake") is None
        assert ENGINES[name].version


@pytest.mark.parametrize("module", ["no_such_engine", "no_such.engine"])
def test_a_package_that_is_missing_is_named_with_what_installs_it(module: str) -> None:
    engine = Engine("new", "pipelines.aggregate", ((module, "none"),), "pip install new")
    assert engine.missing("lake") == f"{module} is not installed: pip install new"
    assert engine.version == ""


def test_a_bucket_may_need_more() -> None:
    engine = dataclasses.replace(ENGINES["pandas"], bucket_modules=("no_such",))
    assert engine.missing("lake") is None
    assert engine.missing("gs://bucket/lake") == (
        "no_such is not installed: pip install 'celes-beam[pandas]'"
    )


def test_a_job_that_was_left_out_is_missing() -> None:
    engine = dataclasses.replace(ENGINES["pandas"], program="no_jobs.aggregate")
    missing = engine.missing("lake")
    assert missing == "no_jobs.aggregate is not installed: install celes-beam as a whole"


def test_spark_needs_java(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", "/nowhere")
    missing = ENGINES["spark"].missing("lake")
    assert missing is not None
    assert missing.startswith("Java is not installed: apt-get install openjdk-17")


def test_nothing_heavy_is_imported_to_find_out() -> None:
    import subprocess
    import sys

    code = (
        "import sys\nfrom celes_beam.compare.catalog import ENGINES\n"
        "for engine in ENGINES.values(): engine.missing('lake'), engine.version\n"
        "print(sorted({'pandas', 'polars', 'duckdb', 'apache_beam', 'pyspark'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_names_give_engines_in_their_order() -> None:
    assert [e.name for e in engines_named(("duckdb", "beam"))] == ["duckdb", "beam"]
    with pytest.raises(ConfigError, match=r"--engines presto: expected some of pandas, dask"):
        engines_named(("presto",))
    with pytest.raises(ConfigError, match="beam stands there 2 times"):
        engines_named(("beam", "beam"))


@pytest.mark.parametrize("name", ["pandas", "dask", "spark", "polars", "duckdb"])
def test_each_job_says_the_same_of_itself(name: str) -> None:
    listed = ENGINES[name]
    job = importlib.import_module(listed.program).ENGINE
    assert (job.name, job.program) == (listed.name, listed.program)
    assert f"pip install 'celes-beam[{job.extra}]'" == listed.install
    assert set(job.modules) <= {module for module, _ in listed.packages}
    assert job.gcs_modules == listed.bucket_modules


def test_beam_is_called_so_by_its_job() -> None:
    from pipelines import aggregate

    assert ENGINES["beam"].name == aggregate.ENGINE
    assert ENGINES["beam"].program == aggregate.PROGRAM
