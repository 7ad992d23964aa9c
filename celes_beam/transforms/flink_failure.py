"""What is told of a job that Flink, or the job server before it, did not bring to its end."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager

import grpc  # type: ignore[import-untyped]
from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions

from celes_beam.commands.command_line import our_error
from celes_beam.errors import ConfigError, StorageError
from celes_beam.transforms.flink_cluster import NO_ANSWER, cluster_of

_WORKER_ENDED = re.compile(r"Process died with exit code (\d+)")
_CANCELLED = re.compile(r"failed in state CANCELL?ED|JobCancellationException")
_FORGOTTEN = re.compile(r"FlinkJobNotFoundException|Could not find Flink job")


@contextmanager
def failures_told(options: PipelineOptions) -> Iterator[None]:
    """Wait for a job in the body; say in a line why there is no more of it.

    Raises ``StorageError`` when the job server or Flink is gone, or the job was cancelled by
    others, and ``ConfigError`` when the program of workers does not stay.
    """
    try:
        yield
    except grpc.RpcError as error:
        endpoint = options.view_as(PortableOptions).job_endpoint
        how = f" ({error.code().name})" if isinstance(error, grpc.Call) else ""
        raise StorageError(
            f"--job_endpoint {endpoint}: the job server does not answer any more{how}, so the "
            "job cannot be followed to its end: start it again (on this machine celes-beam local "
            "up), and run this once more"
        ) from error
    except RuntimeError as error:
        if our_error(error) is None:
            _explain(options, error)
        raise


def _explain(options: PipelineOptions, error: RuntimeError) -> None:
    ended = _WORKER_ENDED.search(str(error))
    if ended is not None:
        raise ConfigError(
            f"{_worker_program(options)} is to start a worker, and ended with exit code "
            f"{ended[1]} in place of it: run it by hand to see why, or name another by "
            "--environment_option process_command=PROGRAM"
        ) from error
    cluster = cluster_of(options)
    if cluster is not None:
        try:
            cluster.slots()
        except NO_ANSWER as silence:
            raise StorageError(
                f"Flink at {cluster.url} does not answer any more ({silence}), and its jobs are "
                "gone with it unless it has high availability: start it again (on this machine "
                "celes-beam local up), and run this once more"
            ) from error
    if _CANCELLED.search(str(error)):
        raise StorageError(
            "the job was cancelled on the cluster, and not from here: run this once more, if that "
            "was not meant to be"
        ) from error
    if _FORGOTTEN.search(str(error)):
        raise StorageError(
            "Flink does not know the job any more, as one that was started anew in the middle of "
            "it: run this once more"
        ) from error


def _worker_program(options: PipelineOptions) -> str:
    portable = options.view_as(PortableOptions)
    named = portable.lookup_environment_option("process_command")
    return str(named or json.loads(portable.environment_config)["command"])
