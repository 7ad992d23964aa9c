"""Google Cloud on this machine for tests, and Google's own command lines to judge what we did."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from celes_beam.errors import MissingProgramError
from celes_beam.local.processes import Server
from celes_beam.stores.cloud.clients import LOCAL_PROJECT
from tests.tools import missing, need_tool

INSTALL_SDK = "install the Google Cloud CLI"


def started(start: Callable[[Path], Server], folder: Path) -> Server:
    """Start a server; without its program CI fails, and others skip."""
    try:
        return start(folder)
    except MissingProgramError as error:
        return missing(str(error))


def use(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let clients find a server."""
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)


def fresh_name(start: str) -> str:
    """A name for a bucket or a topic that nothing has yet."""
    return f"{start}-{uuid.uuid4().hex[:12]}"


def fresh_dataset() -> str:
    """``PROJECT:DATASET`` of a dataset that is not there yet."""
    return f"{LOCAL_PROJECT}:{fresh_name('d').replace('-', '_')}"


def gcloud(*args: str) -> str:
    """What ``gcloud`` prints, run against the local Cloud Storage and Pub/Sub."""
    with tempfile.TemporaryDirectory() as folder:
        return _ask([need_tool("gcloud", INSTALL_SDK), *args], Path(folder))


def bq(*args: str) -> str:
    """What ``bq`` prints, run against the local BigQuery."""
    program = need_tool("bq", INSTALL_SDK)
    sdk = Path(program).resolve().parents[1]
    described = json.loads((sdk / "platform/bq/discovery_next/bigquery.json").read_text())
    address = os.environ["BIGQUERY_EMULATOR_HOST"].rstrip("/")
    # bq calls the address of the description, not that of --api.
    described["rootUrl"] = f"{address}/"
    described["baseUrl"] = f"{address}/bigquery/v2/"
    described.pop("mtlsRootUrl", None)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "description.json").write_text(json.dumps(described))
        (folder / "bigqueryrc").touch()
        flags = [f"--bigqueryrc={folder / 'bigqueryrc'}", "--api", address]
        flags += [f"--discovery_file={folder / 'description.json'}", "--project_id", LOCAL_PROJECT]
        return _ask([program, *flags, *args], folder)


def _ask(command: list[str], folder: Path) -> str:
    (folder / "token").write_text("x")
    settings = {
        "CLOUDSDK_CONFIG": str(folder),
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
        "CLOUDSDK_CORE_PROJECT": LOCAL_PROJECT,
        "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
        "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": str(folder / "token"),
    }
    if storage := os.environ.get("STORAGE_EMULATOR_HOST"):
        settings["CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE"] = f"{storage.rstrip('/')}/"
    if pubsub := os.environ.get("PUBSUB_EMULATOR_HOST"):
        settings["CLOUDSDK_API_ENDPOINT_OVERRIDES_PUBSUB"] = f"http://{pubsub}/"
    done = subprocess.run(
        command, env=os.environ | settings, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
