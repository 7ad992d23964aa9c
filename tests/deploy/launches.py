"""Launches as Dataflow makes them: the image's program, run by itself, with a job as its result."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from apache_beam.portability.api import beam_runner_api_pb2

from tests.deploy.standin import PROJECT, REGION, DataflowStandIn
from tests.tools import ROOT

IMAGE = f"{REGION}-docker.pkg.dev/{PROJECT}/celes-beam/celes-beam:0.1.0"
KEY = f"projects/{PROJECT}/locations/{REGION}/keyRings/celes/cryptoKeys/dataflow"
WORKER = f"celes-worker@{PROJECT}.iam.gserviceaccount.com"
SUBNETWORK = f"regions/{REGION}/subnetworks/celes-dataflow"


@dataclass(frozen=True)
class Launcher:
    """Starts pipelines with the real DataflowRunner; jobs end in a bucket or at the stand-in."""

    bucket: Any
    environment: dict[str, str]
    dataflow: DataflowStandIn

    def flex(self, name: str, *parameters: str) -> dict[str, Any]:
        """The job that the launch of a template writes."""
        place = f"launches/{name}/job_object"
        self._start("pipelines.flex", name, *parameters, f"--template_location={self._url(place)}")
        return json.loads(self.bucket.blob(place).download_as_bytes())

    def direct(self, module: str, name: str, *flags: str) -> dict[str, Any]:
        """The job that a pipeline asks Dataflow for; and what it says on stdout as ``said``."""
        before = len(self.dataflow.asked)
        said = self._start(module, name, *flags, f"--dataflow_endpoint={self.dataflow.url}")
        ((path, job),) = self.dataflow.asked[before:]
        assert path.startswith(f"/v1b3/projects/{PROJECT}/locations/{REGION}/jobs")
        return job | {"said": said}

    def pipeline(self, job: dict[str, Any]) -> beam_runner_api_pb2.Pipeline:
        """The pipeline that a job is to run."""
        url = job["environment"]["sdkPipelineOptions"]["options"]["pipelineUrl"]
        blob = self.bucket.blob(url.removeprefix(f"gs://{self.bucket.name}/"))
        return beam_runner_api_pb2.Pipeline.FromString(blob.download_as_bytes())

    def names(self, job: dict[str, Any]) -> list[str]:
        """The stable names of its transforms, by which an update knows them."""
        transforms = self.pipeline(job).components.transforms.values()
        return sorted(t.unique_name for t in transforms if t.unique_name)

    def _url(self, name: str) -> str:
        return f"gs://{self.bucket.name}/{name}"

    def _start(self, module: str, name: str, *flags: str) -> str:
        given = [
            "--runner=DataflowRunner",
            f"--project={PROJECT}",
            f"--region={REGION}",
            f"--job_name=celes-{name}",
            "--machine_type=n2d-standard-4",
            "--num_workers=2",
            "--max_num_workers=7",
            f"--sdk_container_image={IMAGE}",
            "--sdk_location=container",
            f"--dataflow_kms_key={KEY}",
            "--no_use_public_ips",
            f"--service_account_email={WORKER}",
            f"--subnetwork={SUBNETWORK}",
            "--labels=env=test",
            "--labels=team=data",
            "--dataflow_service_options=enable_secure_boot",
            f"--temp_location={self._url('temp')}",
            f"--staging_location={self._url('staging')}",
        ]
        ended = subprocess.run(
            [sys.executable, "-m", module, *flags, *given],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout


def environment_of(
    servers: list[dict[str, str]], key: str, home: str, **more: str
) -> dict[str, str]:
    """The variables of a process that finds the local services, and has no credentials of ours."""
    found = {k: v for server in servers for k, v in server.items()}
    return found | {
        "PATH": os.environ["PATH"],
        "HOME": home,
        "GOOGLE_APPLICATION_CREDENTIALS": key,
        "NO_GCE_CHECK": "true",
        **more,
    }
