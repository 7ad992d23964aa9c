"""A job that Flink gave up: which line is told for what Beam passes on."""

from __future__ import annotations

import socket

import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from celes_beam.errors import CelesError, ConfigError, InputError, StorageError
from celes_beam.transforms.flink_failure import failures_told

FAILED = "Pipeline r1_5 failed in state FAILED: "
ENDED = FAILED + "java.lang.IllegalStateException: Process died with exit code 1"
FORGOTTEN = "org.apache.flink.runtime.messages.FlinkJobNotFoundException: Could not find Flink job"


@pytest.mark.parametrize(
    ("said", "kind", "told"),
    [
        (
            FAILED + "org.apache.flink.runtime.client.JobCancellationException: Job was cancelled.",
            StorageError,
            "the job was cancelled on the cluster",
        ),
        ("Pipeline r1_5 failed in state CANCELLED: unknown error", StorageError, "was cancelled"),
        (FAILED + FORGOTTEN, StorageError, "Flink does not know the job any more"),
    ],
)
def test_the_end_of_a_job_is_told(said: str, kind: type[CelesError], told: str) -> None:
    with pytest.raises(kind, match=told), failures_told(PipelineOptions([])):
        raise RuntimeError(said)


@pytest.mark.parametrize(
    "flags",
    [
        ["--environment_option", "process_command=/opt/boot"],
        ["--environment_config", '{"command": "/opt/boot"}'],
    ],
)
def test_a_program_that_starts_no_worker_is_named(flags: list[str]) -> None:
    with (
        pytest.raises(ConfigError, match="/opt/boot is to start a worker, and ended with exit"),
        failures_told(PipelineOptions(flags)),
    ):
        raise RuntimeError(ENDED)


def test_a_flink_that_is_gone_is_told() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{unused.getsockname()[1]}"
        with (
            pytest.raises(StorageError, match=f"Flink at http://{place} does not answer any more"),
            failures_told(PipelineOptions(["--flink_master", place])),
        ):
            raise RuntimeError(FAILED + "java.net.ConnectException: Connection refused")


def test_what_a_worker_raised_stays_as_it_is() -> None:
    with pytest.raises(RuntimeError, match="no sales"), failures_told(PipelineOptions([])):
        raise RuntimeError(FAILED + f"{InputError.__module__}.InputError: x.csv holds no sales")
    with pytest.raises(RuntimeError, match="a defect"), failures_told(PipelineOptions([])):
        raise RuntimeError(FAILED + "ValueError: a defect")
