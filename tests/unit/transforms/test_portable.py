"""What is set for a pipeline on Flink, and what is refused before anything is sent there."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    PipelineOptions,
    PortableOptions,
    StandardOptions,
)
from apache_beam.transforms.environments import Environment, ExternalEnvironment

from celes_beam.errors import ConfigError, MissingProgramError
from celes_beam.transforms import portable
from celes_beam.transforms.options import beam_options, is_local, is_on_this_machine
from celes_beam.transforms.portable import FlinkJobOptions, passed_on, set_up, worker_command


@pytest.fixture
def endpoint() -> Iterator[str]:
    """Where something listens."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def elsewhere(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The same, taken for another machine."""
    monkeypatch.setattr(portable, "_HERE", set[str]())
    return endpoint


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The program that starts workers, as an installation has it."""
    program = tmp_path / "celes-beam-worker"
    program.touch(0o755)
    monkeypatch.setattr("sysconfig.get_path", lambda _: str(tmp_path))
    return str(program)


def asked(endpoint: str, *flags: str) -> PipelineOptions:
    return beam_options(["--runner", "PortableRunner", "--job_endpoint", endpoint, *flags])


def test_on_this_machine_all_goes_without_saying(endpoint: str) -> None:
    options = asked(endpoint)
    assert is_on_this_machine(options)
    set_up(options)
    assert options.view_as(PortableOptions).environment_type == "LOOPBACK"
    assert options.view_as(FlinkRunnerOptions).parallelism == 2
    assert options.view_as(FlinkJobOptions).checkpointing_interval is None
    assert (is_on_this_machine(options), is_local(options)) == (True, False)
    assert portable.works_in_this_process(options)


def test_what_is_given_stays(endpoint: str) -> None:
    options = asked(endpoint, "--parallelism", "7", "--environment_type", "loopback")
    options.view_as(StandardOptions).streaming = True
    options.view_as(FlinkJobOptions).checkpointing_interval = 123
    set_up(options)
    set_up(options)
    assert options.view_as(FlinkRunnerOptions).parallelism == 7
    assert options.view_as(FlinkJobOptions).checkpointing_interval == 123


def test_a_stream_has_checkpoints(endpoint: str) -> None:
    options = asked(endpoint)
    options.view_as(StandardOptions).streaming = True
    set_up(options)
    assert options.view_as(FlinkJobOptions).checkpointing_interval > 0
    options.view_as(FlinkJobOptions).checkpointing_interval = 0
    with pytest.raises(ConfigError, match=r"--checkpointing_interval 0: without .* acknowledged"):
        set_up(options)


def test_a_stream_goes_on_from_a_checkpoint_that_is_there(endpoint: str, tmp_path: Path) -> None:
    options = asked(endpoint, "--savepoint_path", (tmp_path / "chk 7").as_uri())
    options.view_as(StandardOptions).streaming = True
    with pytest.raises(ConfigError, match=r"--savepoint_path file:///.* no checkpoint is there"):
        set_up(options)
    (tmp_path / "chk 7").mkdir()
    (tmp_path / "chk 7" / "_metadata").touch()
    set_up(options)
    assert options.view_as(FlinkJobOptions).retain_externalized_checkpoints_on_cancellation


def test_bundles_of_a_stream_hold_one_element(endpoint: str) -> None:
    options = asked(endpoint)
    options.view_as(StandardOptions).streaming = True
    set_up(options)
    set_up(options)
    assert options.view_as(FlinkJobOptions).max_bundle_size == 1
    assert options.view_as(FlinkJobOptions).max_bundle_time_mills > 0
    options.view_as(FlinkJobOptions).max_bundle_size = 2
    with pytest.raises(ConfigError, match=r"--max_bundle_size 2: a stream would not begin"):
        set_up(options)


def test_processes_have_this_python_and_find_the_local_cloud(
    endpoint: str, worker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:9")
    options = asked(endpoint, "--environment_type", "PROCESS")
    set_up(options)
    set_up(options)
    told = json.loads(options.view_as(PortableOptions).environment_config)
    assert told["command"] == worker
    assert told["env"]["STORAGE_EMULATOR_HOST"] == "http://127.0.0.1:9"
    assert os.path.realpath(sys.path[-1]) in told["env"]["PYTHONPATH"].split(os.pathsep)
    assert is_on_this_machine(options)
    assert not portable.works_in_this_process(options)


@pytest.mark.parametrize("where", ["endpoint", "elsewhere"])
def test_a_program_of_one_s_own_starts_workers(where: str, request: pytest.FixtureRequest) -> None:
    program = sys.executable if where == "endpoint" else "/opt/of/another/machine"
    place: str = request.getfixturevalue(where)
    flags = ["--parallelism", "2", "--environment_type", "PROCESS"]
    options = asked(place, *flags, "--environment_option", f"process_command={program}")
    set_up(options)
    told = options.view_as(PortableOptions)
    assert told.lookup_environment_option("process_command") == program


def test_a_pool_of_workers_is_where_beam_looks_for_it(elsewhere: str) -> None:
    options = asked(elsewhere, "--parallelism", "4", "--environment_type", "EXTERNAL")
    portable_options = options.view_as(PortableOptions)
    portable_options.environment_options = ["external_service_address=localhost:50000"]
    set_up(options)
    set_up(options)
    made = Environment.from_options(portable_options)
    assert isinstance(made, ExternalEnvironment)
    assert made.url == "localhost:50000"


def test_no_secret_is_passed_on() -> None:
    given = {"PUBSUB_EMULATOR_HOST": "a:1", "PASSWORD": "x", "GOOGLE_CLOUD_PROJECT": "p"}
    assert passed_on(given) == {"PUBSUB_EMULATOR_HOST": "a:1", "GOOGLE_CLOUD_PROJECT": "p"}


def test_an_installation_without_the_worker_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sysconfig.get_path", lambda _: str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingProgramError, match="install the package again"):
        worker_command()


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--parallelism", "0"], "--parallelism 0: expected 1 or more"),
        (["--environment_type", "THREAD"], "--environment_type THREAD: expected one of LOOPBACK"),
        (["--environment_type", "DOCKER"], "docker_container_image=… is missing: the image that"),
        (["--environment_type", "EXTERNAL"], "external_service_address=… is missing"),
        (
            ["--environment_type", "PROCESS", "--environment_config", "boot"],
            "--environment_config boot: expected JSON",
        ),
        (
            ["--environment_type", "PROCESS", "--environment_config", '{"command": "/nope/boot"}'],
            '"/nope/boot"}: there is no such program here',
        ),
        (
            [
                *("--environment_type", "PROCESS"),
                *("--environment_option", "process_command=/nope/worker"),
            ],
            "process_command=/nope/worker: there is no such program here",
        ),
        (
            ["--environment_type", "PROCESS", "--setup_file", "./setup.py"],
            "--setup_file is given, but workers of --environment_type PROCESS",
        ),
    ],
)
def test_what_would_fail_is_refused(endpoint: str, flags: list[str], told: str) -> None:
    with pytest.raises(ConfigError) as refused:
        set_up(asked(endpoint, *flags))
    assert told in str(refused.value)


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--parallelism", "2"], "--environment_type is missing: on a cluster elsewhere"),
        (["--environment_type", "LOOPBACK"], "LOOPBACK: task managers look for the workers"),
        (["--environment_type", "PROCESS"], "process_command=… is missing"),
        (
            [
                *("--environment_type", "EXTERNAL"),
                *("--environment_option", "external_service_address=localhost:50000"),
            ],
            "--parallelism is missing",
        ),
    ],
)
def test_a_cluster_elsewhere_has_to_be_told_more(
    elsewhere: str, flags: list[str], told: str
) -> None:
    options = asked(elsewhere, *flags)
    with pytest.raises(ConfigError) as refused:
        set_up(options)
    assert told in str(refused.value)
    assert not is_on_this_machine(options)


@pytest.mark.parametrize("endpoint", ["8099", "flink", ":1", "flink:http"])
def test_an_endpoint_is_a_host_and_a_port(endpoint: str) -> None:
    with pytest.raises(ConfigError, match=f"--job_endpoint {endpoint}: expected HOST:PORT"):
        set_up(asked(endpoint))


def test_beams_own_service_in_this_process_needs_nothing_else() -> None:
    """With it DoFns are run in the image (tests/deploy/test_image.py)."""
    options = asked("embed", "--environment_type", "DOCKER", "--environment_config", "image:1")
    before = dict(options.get_all_options())
    set_up(options)
    assert options.get_all_options() == before


def test_without_a_job_server_nobody_waits() -> None:
    with pytest.raises(ConfigError, match="--job_endpoint is missing"):
        set_up(beam_options(["--runner", "PortableRunner"]))
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(ConfigError, match=r"no job server is there .*local up --with flink"):
            set_up(asked(f"127.0.0.1:{port}"))
