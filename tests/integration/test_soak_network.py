"""The bad network of a soak: faults at random, a service that is away, all well once it heals."""

from __future__ import annotations

import random
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from benchmarks import soak_faults_network
from benchmarks.soak_faults_network import Network
from celes_beam.local.processes import Server

SERVICES = ["storage", "bigquery", "appends", "pubsub"]


@pytest.fixture
def servers(
    storage_server: Server, bigquery_server: Server, pubsub_server: Server
) -> tuple[Server, Server, Server]:
    return storage_server, bigquery_server, pubsub_server


@pytest.fixture
def network(servers: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Network]:
    """One in which services come and go at each look."""
    monkeypatch.setattr(soak_faults_network, "_PAUSE_SECONDS", (0.0, 0.0))
    monkeypatch.setattr(soak_faults_network, "_AWAY_SECONDS", (0.0, 0.0))
    with Network(*servers, random.Random(1), 0.0) as network:
        yield network


def answers(network: Network, service: str) -> bool:
    """Whether a service is there, by a request that its stand-in understands."""
    variable, path = {
        "storage": ("STORAGE_EMULATOR_HOST", "/storage/v1/b?project=celes-dev"),
        "bigquery": ("BIGQUERY_EMULATOR_HOST", "/bigquery/v2/projects/celes-dev/datasets"),
        "appends": (
            "BIGQUERY_GRPC_EMULATOR_HOST",
            "/google.cloud.bigquery.storage.v1.BigQueryWrite/GetWriteStream",
        ),
        "pubsub": ("PUBSUB_EMULATOR_HOST", "/google.pubsub.v1.Publisher/ListTopics"),
    }[service]
    place = network.environment[variable]
    if service in ("storage", "bigquery"):
        try:
            with urllib.request.urlopen(f"{place}{path}", timeout=10) as answer:
                return bool(answer.status == 200)
        except urllib.error.HTTPError as error:
            error.close()
            return bool(error.code != 503)
    with grpc.insecure_channel(place) as channel:
        try:
            channel.unary_unary(path)(b"", timeout=10)
        except grpc.RpcError as error:
            # Nobody asks for a stream, or topics, of no name; but somebody said so.
            return bool(error.code() != grpc.StatusCode.UNAVAILABLE)
        return True


def test_a_service_is_away_and_comes_back(network: Network) -> None:
    assert all(answers(network, service) for service in SERVICES)
    while set(network.outages) != set(SERVICES):
        network.look()
        (away,) = {*network.outages} - {s for s in network.outages if answers(network, s)}
        assert [s for s in SERVICES if not answers(network, s)] == [away]
        network.look()
        assert all(answers(network, service) for service in SERVICES)
    assert all(network.requests[service] for service in SERVICES)
    assert all(network.happened[service] for service in SERVICES)
    network.look()
    network.heal()
    assert all(answers(network, service) for service in SERVICES)


def test_requests_fail_at_random(servers: Any) -> None:
    with Network(*servers, random.Random(1), 1.0) as network:
        with pytest.raises((OSError, urllib.error.URLError)):
            answers(network, "storage")
        assert network.happened["storage"] > 0
        network.heal()
        assert answers(network, "storage")
