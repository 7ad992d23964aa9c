"""Google's own command lines (gcloud, bq) against the local cloud: the settings that they need."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable
from pathlib import Path

from celes_beam.errors import MissingProgramError
from celes_beam.local.processes import HOST
from celes_beam.local.programs import find_sdk
from celes_beam.local.state import Record

_ENDPOINTS = {
    "storage": "CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE",
    "pubsub": "CLOUDSDK_API_ENDPOINT_OVERRIDES_PUBSUB",
}
_DISCOVERY = Path("platform", "bq", "discovery_next", "bigquery.json")


def gcloud_lines(folder: Path, records: Iterable[Record], project: str) -> list[str]:
    """Lines of a shell that turn ``gcloud`` and ``bq`` to these servers; writes FOLDER/gcloud.

    The settings of the user's own gcloud are neither read nor changed. Raises
    ``MissingProgramError`` without the Google Cloud CLI.
    """
    sdk = find_sdk()
    place = folder.resolve() / "gcloud"
    settings = place / "config"
    settings.mkdir(parents=True, exist_ok=True)
    token = place / "token"
    token.write_text("local\n")
    variables = {
        "CLOUDSDK_CONFIG": str(settings),
        "CLOUDSDK_CORE_PROJECT": project,
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
        "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
        "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": str(token),
    }
    lines = []
    for record in records:
        if record.service not in {*_ENDPOINTS, "bigquery"}:
            continue
        url = f"http://{HOST}:{record.ports['http']}"
        if record.service == "bigquery":
            lines.append(_bq_line(place, sdk, url, project))
        else:
            variables[_ENDPOINTS[record.service]] = f"{url}/"
    return [*export_lines(variables), *lines]


def export_lines(variables: dict[str, str]) -> list[str]:
    """Lines of a shell that set variables."""
    return [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]


def _bq_line(place: Path, sdk: Path, url: str, project: str) -> str:
    """A function of the shell: ``bq`` has no variable for where BigQuery is."""
    settings = place / "bigqueryrc"
    settings.write_text("")
    discovery = place / "bigquery.json"
    discovery.write_text(json.dumps(_local_discovery(sdk / _DISCOVERY, url)))
    flags = [
        f"--bigqueryrc={settings}",
        f"--api={url}",
        f"--discovery_file={discovery}",
        f"--project_id={project}",
    ]
    return f'bq() {{ command bq {shlex.join(flags)} "$@"; }}'


def _local_discovery(original: Path, url: str) -> dict[str, object]:
    """Google's description of BigQuery's interface, with our address; ``bq`` calls where it says.

    Raises ``MissingProgramError`` when the Google Cloud CLI has no such file.
    """
    try:
        description: dict[str, object] = json.loads(original.read_bytes())
    except FileNotFoundError as error:
        raise MissingProgramError(
            f"bq of the Google Cloud CLI lacks {_DISCOVERY}: gcloud components update"
        ) from error
    description |= {"rootUrl": f"{url}/", "baseUrl": f"{url}/bigquery/v2/"}
    description.pop("mtlsRootUrl", None)
    return description
