"""``celes-beam-worker``: a worker in a process of its own, started by a runner (PROCESS).

Beam has such a program for containers alone: it is written in Go, and installs what the launcher
brings. Here the worker has what this Python has.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

_SECONDS = 60


def main(argv: Sequence[str] | None = None) -> int:
    """Ask the runner who it is and what for, and work until the runner has no more to do."""
    parser = argparse.ArgumentParser(prog="celes-beam-worker", description=__doc__)
    parser.add_argument("--id", required=True, help="what the runner calls this worker")
    parser.add_argument(
        "--provision_endpoint", required=True, help="where the runner is: HOST:PORT"
    )
    # Runners give more, all of which the one at that address tells as well.
    flags, _ = parser.parse_known_args(argv)
    os.environ.update(_provision(flags.id, flags.provision_endpoint))

    # It reads the environment.
    from apache_beam.runners.worker import sdk_worker_main  # noqa: PLC0415

    sdk_worker_main.main([])
    return 0


def _provision(worker_id: str, endpoint: str) -> dict[str, str]:
    """The variables by which Beam's harness is told; raises ``grpc.RpcError`` without an answer."""
    import grpc  # type: ignore[import-untyped]  # noqa: PLC0415
    from apache_beam.portability.api import (  # noqa: PLC0415
        beam_provision_api_pb2,
        beam_provision_api_pb2_grpc,
    )
    from google.protobuf import json_format, text_format  # noqa: PLC0415

    with grpc.insecure_channel(endpoint) as channel:
        asked = beam_provision_api_pb2_grpc.ProvisionServiceStub(channel).GetProvisionInfo(
            beam_provision_api_pb2.GetProvisionInfoRequest(),
            timeout=_SECONDS,
            metadata=(("worker_id", worker_id),),
            wait_for_ready=True,
        )
    info = asked.info
    found = {
        "WORKER_ID": worker_id,
        "PIPELINE_OPTIONS": json_format.MessageToJson(info.pipeline_options),
        "LOGGING_API_SERVICE_DESCRIPTOR": text_format.MessageToString(info.logging_endpoint),
        "CONTROL_API_SERVICE_DESCRIPTOR": text_format.MessageToString(info.control_endpoint),
        "RUNNER_CAPABILITIES": " ".join(info.runner_capabilities),
    }
    if info.status_endpoint.url:
        status = text_format.MessageToString(info.status_endpoint)
        found["STATUS_API_SERVICE_DESCRIPTOR"] = status
    return found


if __name__ == "__main__":
    sys.exit(main())
