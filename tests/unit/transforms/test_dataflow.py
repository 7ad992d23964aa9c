"""What would break a job of Dataflow is refused before it is launched."""

from __future__ import annotations

import pytest

from celes_beam.errors import ConfigError
from celes_beam.transforms.dataflow import check_job, is_flex_launch
from celes_beam.transforms.options import beam_options
from pipelines import batch, replay

IMAGE = ["--sdk_container_image", "us-docker.pkg.dev/p/celes-beam/celes-beam:1"]
ON_DATAFLOW = ["--runner", "DataflowRunner", *IMAGE]
KNOWN = ["--output", "gs://lake/x", *ON_DATAFLOW]


def test_paths_of_this_machine_are_refused_by_the_flag_that_named_them() -> None:
    options = beam_options(IMAGE)
    check_job(options, {"--input": ("gs://b/a", "gs://b/c"), "--output": None})

    with pytest.raises(ConfigError, match=r"--input here/a\.csv: .*expected gs://BUCKET"):
        check_job(options, {"--input": ("gs://b/a", "here/a.csv")})


@pytest.mark.parametrize("brings", [IMAGE, ["--setup_file", "./setup.py"]])
def test_workers_have_this_package_from_an_image_or_a_set_up(brings: list[str]) -> None:
    check_job(beam_options(brings), {})


def test_workers_without_this_package_are_refused() -> None:
    with pytest.raises(ConfigError, match="--sdk_container_image is missing"):
        check_job(beam_options([]), {})


def test_a_flex_launch_is_known_by_where_the_job_is_written() -> None:
    assert is_flex_launch(beam_options(["--template_location", "gs://b/job_object"]))
    assert not is_flex_launch(beam_options([]))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--input", "gs://b/in/", *KNOWN, "--watch", "5"], "--watch is for a machine of yours"),
        (["--input", "in", *KNOWN], "--input in: workers of Dataflow"),
        (["--rows", "5", *ON_DATAFLOW], r"--output \./lake: workers of Dataflow"),
        (["--rows", "5", *KNOWN[:4]], "--sdk_container_image is missing"),
    ],
)
def test_batch_refuses_what_would_break_its_job(flags: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        batch.run(flags)


def test_a_replay_of_messages_is_not_for_dataflow() -> None:
    with pytest.raises(ConfigError, match="does not live to see: replay from the lake"):
        replay.run(["--from", "projects/celes-dev/subscriptions/rechazadas", *KNOWN])


def test_a_replay_of_a_lake_here_is_not_for_dataflow() -> None:
    with pytest.raises(ConfigError, match=r"--from \./lake: workers of Dataflow"):
        replay.run(["--from", "./lake", *KNOWN])
