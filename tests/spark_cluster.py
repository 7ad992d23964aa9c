"""A standalone cluster of Spark on this machine: a master and a worker, each a process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from celes_beam.local.processes import HOST, Plan, Server, start
from tests.tools import ROOT, missing, need_module, need_tool

_CLASSES = "org.apache.spark.deploy"


def spark_home() -> Path:
    """Where the package has the scripts of Spark; without Java CI fails, and others skip."""
    need_tool("java", "install openjdk-17-jre-headless")
    return Path(need_module("pyspark", "pip install 'celes-beam[spark]'").__file__).parent


def need_connector() -> str:
    """Google's connector for gs://; without it CI fails, and others skip."""
    found = sorted((ROOT / ".tools" / "jars").glob("gcs-connector-*-shaded.jar"))
    return str(found[-1]) if found else missing("Google's connector is missing: make spark-jars")


@contextmanager
def spark_cluster(folder: Path) -> Iterator[str]:
    """Run a cluster with two cores and 1 GB, and give its URL."""
    with ExitStack() as running:
        master = running.enter_context(_start(folder, "master", []))
        url = f"spark://{HOST}:{master.ports['rpc']}"
        running.enter_context(_start(folder, "worker", ["--cores", "2", "--memory", "1g", url]))
        yield url


def _start(folder: Path, role: str, arguments: list[str]) -> Server:
    home = spark_home()

    def command(ports: Mapping[str, int]) -> list[str]:
        places = ["--host", HOST, "--port", str(ports["rpc"]), "--webui-port", str(ports["http"])]
        name = f"{_CLASSES}.{role}.{role.capitalize()}"
        return [str(home / "bin" / "spark-class"), name, *places, *arguments]

    environment = {
        "SPARK_HOME": str(home),
        "SPARK_LOCAL_IP": HOST,
        "SPARK_WORKER_DIR": str(folder / "work"),
        # Plain folders are judged by this package, in processes that executors start.
        "PYTHONPATH": str(ROOT),
        "SPARK_DAEMON_MEMORY": "256m",
        # They do little, and are to start soon.
        "SPARK_DAEMON_JAVA_OPTS": "-XX:TieredStopAtLevel=1",
    }
    log = folder / f"{role}.log"
    plan = Plan(f"Spark's {role}", command, "/", log, lambda _: {}, environment)
    return start(plan, {"http": 0, "rpc": 0})
