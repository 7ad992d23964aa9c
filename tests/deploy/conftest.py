"""Dataflow as far as this machine has it: a stand-in, and launches with the real DataflowRunner."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from celes_beam.local.processes import Server
from celes_beam.stores.cloud.clients import storage_client
from tests.cloud import fresh_name, use
from tests.deploy.launches import Launcher, environment_of
from tests.deploy.standin import DataflowStandIn, dataflow_stand_in, throwaway_key


@pytest.fixture(scope="session")
def dataflow() -> Iterator[DataflowStandIn]:
    """A stand-in that takes jobs and launches, and runs none."""
    with dataflow_stand_in() as stand_in:
        yield stand_in


@pytest.fixture(scope="module")
def launcher(
    storage_server: Server,
    bigquery_server: Server,
    pubsub_server: Server,
    dataflow: DataflowStandIn,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Launcher]:
    """Launches pipelines; the services that a launcher asks are those of this machine."""
    folder: Path = tmp_path_factory.mktemp("launcher")
    servers = [storage_server, bigquery_server, pubsub_server]
    environment = environment_of(
        [server.environment for server in servers],
        str(throwaway_key(folder, dataflow.url)),
        str(folder),
    )
    with pytest.MonkeyPatch.context() as patch:
        for server in servers:
            use(server, patch)
        yield Launcher(storage_client().create_bucket(fresh_name("jobs")), environment, dataflow)
