"""What is known to break a job is found in its flags, and each comes with a remedy."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from celes_beam.plan.job import Job
from celes_beam.plan.refusals import Refusal, StreamShape, refusals, stream_refusals

KEY = "projects/p/locations/{}/keyRings/celes/cryptoKeys/dataflow"
GOOD = Job(
    "streaming",
    project="mi-tienda",
    region="us-central1",
    name="celes-streaming",
    image="us-central1-docker.pkg.dev/mi-tienda/celes-beam/celes-beam:1",
    service_account="celes-worker@mi-tienda.iam.gserviceaccount.com",
    temp_location="gs://mi-tienda-celes-staging/temp",
    subnetwork="regions/us-central1/subnetworks/celes-dataflow",
    kms_key=KEY.format("us-central1"),
    machine_type="n2-standard-2",
    num_workers=1,
    max_workers=5,
)
AT_LEAST_ONCE = StreamShape("at_least_once", 5_000, 0.1)
PLACES = [("--output", "gs://mi-tienda-celes-lake/ventas")]


def found(**changes: Any) -> list[Refusal]:
    return list(refusals(dataclasses.replace(GOOD, **changes), PLACES))


def test_a_good_job_is_not_refused() -> None:
    assert found() == []
    assert found(runner="DataflowRunner", others={"no_use_public_ips": "true"}) == []
    assert found(table_location="US", table_kms_key=KEY.format("us")) == []
    assert list(stream_refusals(GOOD, AT_LEAST_ONCE)) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"public_ips": True}, "the policy is private"),
        ({"runner": "DataflowRunner"}, "public addresses unless told"),
        ({"runner": "DirectRunner"}, "a plan is of a job on Dataflow"),
        ({"subnetwork": None}, "Private Google Access"),
        ({"subnetwork": "celes-dataflow"}, "expected regions/REGION"),
        ({"subnetwork": "regions/europe-west1/subnetworks/s"}, "is in europe-west1"),
        ({"kms_key": KEY.format("europe-west1")}, "is in europe-west1, the job in us-central1"),
        ({"kms_key": KEY.format("global")}, "is in global"),
        ({"kms_key": "my-key"}, "expected projects/P/locations"),
        ({"table_location": "EU"}, "is not where the job is"),
        (
            {"table_location": "US", "table_kms_key": KEY.format("us-central1")},
            "the dataset in us",
        ),
        ({"image": None}, "sdk_container_image is missing"),
        ({"image": "celes beam:1"}, "expected an image of a registry"),
        ({"project": None}, "--project is missing"),
        ({"project": "My Project"}, "expected the id of a project"),
        ({"region": None}, "--region is missing"),
        ({"temp_location": None}, "--temp_location is missing"),
        (
            {
                "region": "EU",
                "subnetwork": None,
                "public_ips": True,
                "private": False,
                "kms_key": None,
            },
            "no zone or continent",
        ),
        ({"temp_location": "gs:///x"}, "--temp_location gs:///x names no bucket"),
        ({"temp_location": "/tmp/x"}, "do not see the disk of this machine"),
        ({"name": "Ventas"}, "--job_name Ventas"),
        ({"service_account": "ana@example.com"}, "no address of a service account"),
        ({"machine_type": "e2-micro"}, "shares its cores"),
        ({"num_workers": 9}, "--num_workers 9 is more"),
        ({"zone": "us-east1-b"}, "not in the job's region"),
        ({"experiments": ("disable_runner_v2",)}, "need Runner v2"),
        ({"others": {"direct_num_workers": "4"}}, "--direct_num_workers 4"),
        ({"others": {"requirements_file": "r.txt"}}, "reach no PyPI"),
    ],
)
def test_what_breaks_is_refused_once(changes: dict[str, Any], said: str) -> None:
    refused = [str(one) for one in found(**changes)]
    assert len(refused) == 1, refused
    assert said in refused[0]
    assert "\n" not in refused[0]


def test_public_addresses_are_fine_where_the_policy_is_open() -> None:
    assert found(public_ips=True, private=False, subnetwork=None) == []


def test_places_that_workers_do_not_see_are_named() -> None:
    (refused,) = refusals(GOOD, [*PLACES, ("--input", "ventas.csv")])
    assert refused.said.startswith("--input ventas.csv")


@pytest.mark.parametrize(
    ("seconds", "rows", "rate", "said"),
    [
        (0.5, 5_000, None, "14,400 write streams an hour"),
        (0.99, 5_000, 1.0, "BigQuery's quota is 10,000"),
        (1.0, 1_000, 2_000.0, "--max_batch_rows 1441"),
        (5.0, 100_000, 500_000.0, "at_least_once, or ask for more quota"),
    ],
)
def test_exactly_once_may_not_open_too_many_streams(
    seconds: float, rows: int, rate: float | None, said: str
) -> None:
    shape = StreamShape("exactly_once", rows, seconds, rate)
    (refused,) = stream_refusals(GOOD, shape)
    assert said in str(refused)
    assert not list(stream_refusals(GOOD, dataclasses.replace(shape, delivery="at_least_once")))


def test_the_remedy_for_too_many_streams_is_one() -> None:
    assert not list(stream_refusals(GOOD, StreamShape("exactly_once", 1_441, 1.0, 2_000.0)))


def test_batches_are_full_also_by_their_bytes() -> None:
    shape = StreamShape("exactly_once", 100_000, 1.0, 100_000.0, 200.0)
    assert shape.batches_per_second == pytest.approx(2.384, abs=0.001)
    (refused,) = stream_refusals(GOOD, shape)
    assert "BigQuery's quota" in str(refused)


def test_a_stream_knows_no_flexrs_and_is_updated_by_its_name() -> None:
    job = dataclasses.replace(GOOD, flexrs="COST_OPTIMIZED", update=True, name=None)
    said = [one.said for one in stream_refusals(job, AT_LEAST_ONCE)]
    assert len(said) == 2
    assert "flexrs" in said[0]
    assert "--update" in said[1]
