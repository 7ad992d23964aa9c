"""A job on Flink whose launcher ends: what is said when nobody knows where Flink is."""

from __future__ import annotations

import socket

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions

from celes_beam.errors import ConfigError
from celes_beam.transforms.flink_job import check_slots, ended_with_us


@pytest.mark.parametrize(("flags", "name"), [([], "r1"), (["--job_name", "noche"], "noche-r1")])
def test_a_job_is_known_by_its_run(flags: list[str], name: str) -> None:
    pipeline = beam.Pipeline(options=PipelineOptions(flags))
    with ended_with_us(pipeline, "r1"):
        assert pipeline.options.view_as(GoogleCloudOptions).job_name == name


def test_a_job_that_may_go_on_is_told(caplog: pytest.LogCaptureFixture) -> None:
    failed, interrupted = (beam.Pipeline(options=PipelineOptions([])) for _ in range(2))
    with pytest.raises(RuntimeError), ended_with_us(failed, "r1"):
        raise RuntimeError("the job has failed")
    assert not caplog.records
    with pytest.raises(KeyboardInterrupt), ended_with_us(interrupted, "r2"):
        raise KeyboardInterrupt
    (record,) = caplog.records
    assert "job r2 may still run on the cluster: cancel it there" in record.message


def test_a_flink_that_does_not_answer_is_told_too(caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{unused.getsockname()[1]}"
        options = PipelineOptions(["--flink_master", place])
        with pytest.raises(ConfigError, match=f"--flink_master {place}: no Flink is there"):
            check_slots(options)
        with pytest.raises(RuntimeError), ended_with_us(beam.Pipeline(options=options), "r1"):
            raise RuntimeError
    (record,) = caplog.records
    assert f"job r1 may still run on the cluster at http://{place}" in record.message


def test_a_cluster_that_is_not_named_is_not_asked() -> None:
    check_slots(PipelineOptions(["--parallelism", "9"]))
