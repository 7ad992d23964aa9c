"""How property tests run, and Google Cloud on this machine.

Property tests try the same examples each time in CI, others each time elsewhere. Servers start
when a test first asks for one, and are stopped at the end.
"""

from __future__ import annotations

import gc
import logging
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadFileScheduling, Scheduling

from celes_beam.local.processes import Server
from celes_beam.local.servers import start_bigquery, start_pubsub, start_storage
from tests.bucket_settings import start_settings_server
from tests.cloud import fresh_dataset, fresh_name, started, use
from tests.flink_cluster import ON_FLINK, FlinkCluster, flink_cluster, wait_for_workers
from tests.tools import need_tool

settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("here", deadline=None)
settings.register_profile("wide", deadline=None, max_examples=1000)
settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") == "true" else "here")
)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes are named by their argument.

    What gzip makes holds the second in which it was made, and processes that share the tests have
    to find the same names.
    """
    return argname if isinstance(val, bytes) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest as a whole."""
    items.sort(key=lambda item: not _is_on_flink(item.nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling:
    return _Shares(config, log)


class _Shares(LoadFileScheduling):
    """Where several processes share the tests, each has whole files, and one of them has Flink.

    A cluster is dear, and so is much that a file starts. (``--dist loadgroup`` would do for it, but
    pytest 9.2 does not let xdist 3.8 name the group.)
    """

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return "flink" if _is_on_flink(nodeid) else file


def _is_on_flink(nodeid: str) -> bool:
    return _ON_FLINK.search(nodeid) is not None


_ON_FLINK = re.compile(r"integration/test_flink_|\[(.*-)?Flink\b")


@pytest.fixture(autouse=True)
def quiet_beam() -> Iterator[None]:
    """What a launch lets Beam say is not said in the tests after it."""
    logger = logging.getLogger("apache_beam")
    level = logger.level
    yield
    logger.setLevel(level)


@pytest.fixture(autouse=True)
def interrupts_as_before() -> Iterator[None]:
    """Beam's handler, which ends Prism at an interrupt, stays for the rest of a process.

    The interrupt that a later test sends itself would take five seconds, and a pipe of Beam's that
    it leaves open would be the failure of that test.
    """
    handler = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, handler)


@pytest.fixture(scope="session")
def flink(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlinkCluster]:
    """A Flink cluster that all tests share; it takes a quarter of a minute and 1 GB."""
    with flink_cluster(tmp_path_factory.mktemp("flink")) as cluster:
        yield cluster


@pytest.fixture(
    params=["DirectRunner", "PrismRunner", pytest.param("Flink", marks=ON_FLINK)],
)
def runner(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """Flags of each runner that a laptop has."""
    if request.param == "DirectRunner":
        yield ["--runner", "DirectRunner"]
    elif request.param == "Flink":
        cluster: FlinkCluster = request.getfixturevalue("flink")
        yield cluster.flags
        wait_for_workers()
    else:
        yield ["--runner", "PrismRunner", "--prism_location", need_tool("prism", "make prism")]


@pytest.fixture(scope="module")
def sockets_collected() -> Iterator[None]:
    """Collects what the tests of a module left, before those of the next one begin."""
    yield
    gc.collect()


@pytest.fixture(scope="session")
def cloud_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the servers keep their data: one folder, so that BigQuery reads what buckets hold."""
    return tmp_path_factory.mktemp("cloud")


@pytest.fixture(scope="session")
def storage_server(cloud_folder: Path) -> Iterator[Server]:
    with started(start_storage, cloud_folder) as server:
        yield server


@pytest.fixture(scope="session")
def buckets(cloud_folder: Path) -> Path:
    """The folder whose subfolders are the buckets of Cloud Storage and BigQuery."""
    return cloud_folder / "storage"


@pytest.fixture(scope="session")
def bigquery_server(cloud_folder: Path) -> Iterator[Server]:
    with started(start_bigquery, cloud_folder) as server:
        yield server


@pytest.fixture(scope="session")
def pubsub_server(cloud_folder: Path) -> Iterator[Server]:
    with started(start_pubsub, cloud_folder) as server:
        yield server


@pytest.fixture(scope="session")
def settings_server() -> Iterator[str]:
    """URL of a server that keeps the settings of buckets, and ignores preconditions."""
    with start_settings_server() as url:
        yield url


@pytest.fixture
def bucket(storage_server: Server, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A fresh ``google.cloud.storage.Bucket``; clients find the local Cloud Storage."""
    from celes_beam.stores.cloud.clients import storage_client

    use(storage_server, monkeypatch)
    return storage_client().create_bucket(fresh_name("b"))


@pytest.fixture
def dataset(
    storage_server: Server, bigquery_server: Server, monkeypatch: pytest.MonkeyPatch
) -> str:
    """``PROJECT:DATASET`` of a dataset to be made; clients find the local BigQuery and buckets."""
    use(storage_server, monkeypatch)
    use(bigquery_server, monkeypatch)
    return fresh_dataset()


@pytest.fixture
def pubsub(pubsub_server: Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """Address of the local Pub/Sub, which clients find."""
    use(pubsub_server, monkeypatch)
    return pubsub_server.address
