"""The commands of docker and gcloud that bring image, templates and jobs to Google Cloud.

Plain functions of what was asked for; ``deploy.py`` runs them or shows them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from celes_beam.commands.pipeline_parsers import STREAMING
from celes_beam.commands.template_metadata import SDK_IMAGE, metadata
from celes_beam.errors import ConfigError

DOCKERFILE = "Dockerfile.flex"
_SEPARATORS = "~|;!+#"
"""One that no value holds stands between the parameters of gcloud, whose comma many hold."""


@dataclass(frozen=True)
class Place:
    """Where a job runs, and as whom; ``None`` is Google's default, or that of the template."""

    project: str | None = None
    region: str | None = None
    service_account: str | None = None
    subnetwork: str | None = None
    kms_key: str | None = None
    temp_location: str | None = None
    staging_location: str | None = None
    machine_type: str | None = None
    num_workers: int | None = None
    max_workers: int | None = None
    launcher_machine_type: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    public_ips: bool = False


def build_commands(
    image: str, *, version: str, revision: str, epoch: int, arguments: Sequence[str], push: bool
) -> list[list[str]]:
    """Build the image of this repository, and push it.

    ``epoch`` is the time of the commit in seconds; ``arguments`` are more of NAME=VALUE for the
    Dockerfile, such as its base images.
    """
    told = [
        f"VERSION={version}",
        f"REVISION={revision}",
        f"SOURCE_DATE_EPOCH={epoch}",
        *arguments,
    ]
    given = [part for one in told for part in ("--build-arg", one)]
    # Workers of Dataflow are of this kind, whatever the machine that builds.
    build = ["docker", "build", "--platform", "linux/amd64", "--file", DOCKERFILE, "--tag", image]
    commands = [[*build, *given, "."]]
    return [*commands, ["docker", "push", image]] if push else commands


def container_spec(name: str, image: str, place: Place) -> dict[str, Any]:
    """The file by which Dataflow knows a template: image, metadata, and settings of a launch."""
    environment: dict[str, Any] = {
        "sdkContainerImage": image,
        "ipConfiguration": "WORKER_IP_PUBLIC" if place.public_ips else "WORKER_IP_PRIVATE",
        "serviceAccountEmail": place.service_account,
        "subnetwork": place.subnetwork,
        "kmsKeyName": place.kms_key,
        "tempLocation": place.temp_location,
        "stagingLocation": place.staging_location,
        "machineType": place.machine_type,
        "numWorkers": place.num_workers,
        "maxWorkers": place.max_workers,
        "launcherMachineType": place.launcher_machine_type,
        "additionalUserLabels": dict(place.labels) or None,
        "enableStreamingEngine": True if name == STREAMING else None,
    }
    return {
        "image": image,
        "metadata": metadata(name),
        "sdkInfo": {"language": "PYTHON"},
        "defaultEnvironment": {k: v for k, v in environment.items() if v is not None},
    }


def spec_text(name: str, image: str, place: Place) -> str:
    """The content of the file of a template."""
    return json.dumps(container_spec(name, image, place), indent=2, ensure_ascii=False) + "\n"


def upload_command(path: str, to: str) -> list[str]:
    """Put the file of a template where Dataflow finds it."""
    return ["gcloud", "storage", "cp", path, to]


def run_command_of(
    name: str,
    job: str,
    template: str,
    parameters: Mapping[str, str],
    place: Place,
    *,
    image: str | None = None,
    update: bool = False,
) -> list[str]:
    """Launch a template as a job, or in the place of the streaming job of that name."""
    if update and name != STREAMING:
        raise ConfigError(f"--update is for streaming jobs: a job of {name} ends by itself")
    settings = {
        "--project": place.project,
        "--region": place.region,
        "--template-file-gcs-location": template,
        "--service-account-email": place.service_account,
        "--subnetwork": place.subnetwork,
        "--dataflow-kms-key": place.kms_key,
        "--temp-location": place.temp_location,
        "--staging-location": place.staging_location,
        "--worker-machine-type": place.machine_type,
        "--num-workers": place.num_workers,
        "--max-workers": place.max_workers,
        "--launcher-machine-type": place.launcher_machine_type,
        "--additional-user-labels": ",".join(f"{k}={v}" for k, v in place.labels.items()) or None,
    }
    command = ["gcloud", "dataflow", "flex-template", "run", job]
    command += [f"{flag}={value}" for flag, value in settings.items() if value is not None]
    if not place.public_ips:
        command.append("--disable-public-ips")
    if name == STREAMING:
        command.append("--enable-streaming-engine")
    if update:
        command.append("--update")
    # The workers get the image only if they are told so: that of the template is the launcher's.
    given = dict(parameters) | ({} if image is None else {SDK_IMAGE: image})
    if given:
        command.append(f"--parameters={_joined([f'{k}={v}' for k, v in given.items()])}")
    return command


def _joined(parameters: Iterable[str]) -> str:
    """A list as gcloud reads it (``gcloud topic escaping``)."""
    listed = list(parameters)
    if not any("," in one for one in listed):
        return ",".join(listed)
    separator = next((s for s in _SEPARATORS if not any(s in one for one in listed)), None)
    if separator is None:
        raise ConfigError(
            f"the parameters hold a comma and all of {_SEPARATORS}: launch with fewer of them, "
            "such as folders in the place of files"
        )
    return f"^{separator}^{separator.join(listed)}"
