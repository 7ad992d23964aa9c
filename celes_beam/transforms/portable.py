"""What a pipeline needs on Flink, by way of Beam's job server: set here, or refused.

The workers are threads of the launcher (LOOPBACK), processes that the task managers start
(PROCESS), containers (DOCKER), or pools that run beside the task managers (EXTERNAL).
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from apache_beam.options.pipeline_options import (
    DebugOptions,
    FlinkRunnerOptions,
    PipelineOptions,
    PortableOptions,
    SetupOptions,
    StandardOptions,
)

from celes_beam.errors import ConfigError, MissingProgramError

_RUNNERS = {"portablerunner", "flinkrunner"}
_HERE = {"localhost", "127.0.0.1", "[::1]"}
_LOOPBACK, _PROCESS, _DOCKER, _EXTERNAL = "LOOPBACK", "PROCESS", "DOCKER", "EXTERNAL"
_ENVIRONMENTS = (_LOOPBACK, _PROCESS, _DOCKER, _EXTERNAL)
_COMMAND = "process_command"
_NEEDS = {
    _PROCESS: (_COMMAND, 'the program that starts a worker, such as "/opt/…/boot"'),
    _DOCKER: ("docker_container_image", "the image that holds this package"),
    _EXTERNAL: ("external_service_address", "HOST:PORT of the pools, as task managers see it"),
}
_WORKER = "celes-beam-worker"
_PARALLELISM = 2
_EMBEDDED = "embed"
"""Beam's own job service within this process, which needs none of the rest."""
_CONNECT_SECONDS = 10
_KEEP_WORKERS_MS = 10_000
_CHECKPOINT_MS = 5_000
_BUNDLE_MS = 100
# What tells clients where the stand-ins of Google's services are, and who they are themselves.
_PASSED_ON = ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT", "TMPDIR")
_PASSED_ON_ENDING = "_EMULATOR_HOST"


class FlinkJobOptions(PipelineOptions):
    """Flags of Beam's job server, which Beam knows only once it has asked one."""

    @classmethod
    def _add_argparse_args(cls, parser: object) -> None:
        add = parser.add_argument  # type: ignore[attr-defined]
        add(
            "--checkpointing_interval",
            type=int,
            help=f"Flink: milliseconds between checkpoints of a stream ({_CHECKPOINT_MS:,})",
        )
        add("--savepoint_path", help="Flink: the checkpoint or savepoint from which to go on")
        add(
            "--externalized_checkpoints_enabled",
            action="store_true",
            default=None,
            help="Flink: keep the last checkpoint when the job fails (a stream's always is)",
        )
        add(
            "--retain_externalized_checkpoints_on_cancellation",
            action="store_true",
            default=None,
            help="Flink: keep it also when the job is cancelled (a stream's always is)",
        )
        add(
            "--max_bundle_size",
            type=int,
            help="Flink: elements of a bundle; those of a stream are batches, and it is 1",
        )
        add(
            "--max_bundle_time_mills",
            type=int,
            help=f"Flink: how long a bundle lasts, in milliseconds ({_BUNDLE_MS} for a stream)",
        )
        add(
            "--number_of_execution_retries",
            type=int,
            help="Flink: how often a job that fails is started again (what the cluster says)",
        )


def is_portable(options: PipelineOptions) -> bool:
    """Whether the pipeline goes to Flink, or another runner behind a job server."""
    return (options.view_as(StandardOptions).runner or "").lower() in _RUNNERS


def works_here(options: PipelineOptions) -> bool:
    """Whether the workers see the disk and the servers of this machine."""
    return _is_here(options) and _environment_of(options) in {_LOOPBACK, _PROCESS}


def works_in_this_process(options: PipelineOptions) -> bool:
    """Whether the workers are threads of this process."""
    return _is_here(options) and _environment_of(options) == _LOOPBACK


def is_elsewhere(options: PipelineOptions) -> bool:
    """Whether the workers of a runner behind a job server are no threads of this process."""
    return is_portable(options) and not works_in_this_process(options)


def set_up(options: PipelineOptions) -> None:
    """Set what is not given: environment, parallelism, checkpoints of a stream.

    On a cluster of this machine workers are threads of this process unless another environment is
    asked for. Raises ``ConfigError`` for what would fail, hang or lose data.
    """
    portable = options.view_as(PortableOptions)
    if portable.job_endpoint == _EMBEDDED:
        return
    _check_endpoint(portable.job_endpoint)
    portable.environment_type = _environment_of(options)
    _set_environment(options, portable)
    flink = options.view_as(FlinkRunnerOptions)
    if flink.parallelism in {None, -1}:
        if not _is_here(options):
            raise ConfigError(
                "--parallelism is missing: how many slots of the cluster the job may take, such "
                "as --parallelism 4"
            )
        flink.parallelism = _PARALLELISM
    if flink.parallelism < 1:
        raise ConfigError(f"--parallelism {flink.parallelism}: expected 1 or more")
    if options.view_as(StandardOptions).streaming:
        _set_checkpoints(options.view_as(FlinkJobOptions))
        _check_savepoint(options)
        _set_bundles(options.view_as(FlinkJobOptions))
    # Else each launch asks pip for a list of all packages, for a line in a log.
    options.view_as(DebugOptions).add_experiment("disable_logging_submission_environment")


def _check_endpoint(endpoint: str | None) -> None:
    if not endpoint:
        raise ConfigError(
            "--job_endpoint is missing: HOST:PORT of Beam's job server (celes-beam local up --with "
            "flink starts one on this machine)"
        )
    host, colon, port = endpoint.rpartition(":")
    if not (host and colon and port.isdecimal()):
        raise ConfigError(
            f"--job_endpoint {endpoint}: expected HOST:PORT of Beam's job server, such as "
            "127.0.0.1:8099"
        )
    try:
        # Beam would wait for it for five minutes.
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"--job_endpoint {endpoint}: no job server is there ({error}): start it (celes-beam "
            "local up --with flink), or give another"
        ) from error


def _is_here(options: PipelineOptions) -> bool:
    endpoint = options.view_as(PortableOptions).job_endpoint or ""
    return endpoint.rpartition(":")[0].lower() in _HERE


def _environment_of(options: PipelineOptions) -> str:
    """What is asked for, or what goes without saying on this machine; empty elsewhere."""
    given = options.view_as(PortableOptions).environment_type
    return (given or (_LOOPBACK if _is_here(options) else "")).upper()


def _set_environment(options: PipelineOptions, portable: PortableOptions) -> None:
    kind = portable.environment_type
    if not kind:
        raise ConfigError(
            "--environment_type is missing: on a cluster elsewhere workers are DOCKER (with "
            "--environment_option docker_container_image=IMAGE), EXTERNAL (with "
            "external_service_address=HOST:PORT) or PROCESS (with process_command=PROGRAM)"
        )
    if kind not in _ENVIRONMENTS:
        raise ConfigError(f"--environment_type {kind}: expected one of {', '.join(_ENVIRONMENTS)}")
    if kind == _LOOPBACK:
        if not _is_here(options):
            raise ConfigError(
                "--environment_type LOOPBACK: task managers look for the workers on their own "
                f"machine, and --job_endpoint {portable.job_endpoint} is another: use DOCKER, "
                "EXTERNAL or PROCESS"
            )
        return
    name, what = _NEEDS[kind]
    config = portable.environment_config
    # A stage of a batch begins when the one before is over, and would start workers of its own.
    portable.environment_cache_millis = portable.environment_cache_millis or _KEEP_WORKERS_MS
    if config is None and portable.lookup_environment_option(name) is None:
        if kind != _PROCESS or not _is_here(options):
            raise ConfigError(f"--environment_option {name}=… is missing: {what}")
        portable.environment_config = _own_worker(options)
    elif kind == _PROCESS:
        _check_process(options, config)
    elif kind == _EXTERNAL and config is None:
        # Beam asks for the option, and reads the other flag.
        portable.environment_config = portable.lookup_environment_option(name)
        portable.environment_options = None


def _own_worker(options: PipelineOptions) -> str:
    """The environment of workers with this very Python; raises when they would lack something."""
    set_up = options.view_as(SetupOptions)
    for flag in ("requirements_file", "setup_file", "extra_packages"):
        if getattr(set_up, flag):
            raise ConfigError(
                f"--{flag.removesuffix('s')} is given, but workers of --environment_type PROCESS "
                "have the packages of this Python: install it here, and leave the flag out"
            )
    # Functions of --transform are found as this process finds them.
    path = os.pathsep.join(str(Path(place).resolve()) for place in sys.path)
    variables = {**passed_on(os.environ), "PYTHONPATH": path}
    return json.dumps({"command": worker_command(), "env": variables})


def worker_command() -> str:
    """Path of the program that starts a worker with this Python.

    Raises ``MissingProgramError`` when the package was not installed with it.
    """
    beside = Path(sysconfig.get_path("scripts"), _WORKER)
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which(_WORKER)
    if found is None:
        raise MissingProgramError(
            f"{_WORKER} is not beside this Python: install the package again (pip install "
            "celes-beam), or name a program by --environment_option process_command=PROGRAM"
        )
    return found


def passed_on(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that workers in processes of their own need, as this process has them."""
    return {
        name: value
        for name, value in environment.items()
        if name in _PASSED_ON or name.endswith(_PASSED_ON_ENDING)
    }


def _check_process(options: PipelineOptions, config: str | None) -> None:
    portable = options.view_as(PortableOptions)
    program = portable.lookup_environment_option(_COMMAND)
    given = f"--environment_option {_COMMAND}={program}"
    if config is not None:
        given = f"--environment_config {config}"
        try:
            program = json.loads(config)["command"]
        except (ValueError, TypeError, KeyError):
            program = None
        if not program or not isinstance(program, str):
            raise ConfigError(
                f'{given}: expected JSON such as {{"command": "PROGRAM", "env": '
                '{"NAME": "VALUE"}}'
            )
    # Task managers elsewhere may have what is not here.
    if _is_here(options) and shutil.which(str(program)) is None:
        raise ConfigError(
            f"{given}: there is no such program here: give the path of one that starts a worker, "
            f"or leave it out for {_WORKER} of this Python"
        )


def _set_checkpoints(flink: FlinkJobOptions) -> None:
    if flink.checkpointing_interval is None:
        flink.checkpointing_interval = _CHECKPOINT_MS
    if flink.checkpointing_interval < 1:
        raise ConfigError(
            f"--checkpointing_interval {flink.checkpointing_interval}: without checkpoints no "
            "message of a stream would ever be acknowledged: expected milliseconds, 1 or more"
        )
    # For the next run to go on from. Those of a job that ends by itself are deleted.
    flink.externalized_checkpoints_enabled = True
    flink.retain_externalized_checkpoints_on_cancellation = True


def _check_savepoint(options: PipelineOptions) -> None:
    given = options.view_as(FlinkJobOptions).savepoint_path
    if not given or not _is_here(options):
        return
    url = urlsplit(given)
    if url.scheme in {"", "file"} and not Path(unquote(url.path), "_metadata").is_file():
        raise ConfigError(
            f"--savepoint_path {given}: no checkpoint is there: expected the folder of one that "
            "is whole, such as file:///…/checkpoints/JOB/chk-7"
        )


def _set_bundles(flink: FlinkJobOptions) -> None:
    """End the bundle of each element with it.

    What a bundle gave that is ended by a checkpoint is kept back by Beam until the next element or
    watermark comes, and the watermark is sent on before it. The beginning of a stream is one
    element, with the last watermark right behind: no other ever comes, and nothing is read.
    """
    if flink.max_bundle_size not in {None, 1}:
        raise ConfigError(
            f"--max_bundle_size {flink.max_bundle_size}: a stream would not begin if a checkpoint "
            "came into its first bundle: leave it out, or give 1"
        )
    flink.max_bundle_size = 1
    if flink.max_bundle_time_mills is None:
        flink.max_bundle_time_mills = _BUNDLE_MS
