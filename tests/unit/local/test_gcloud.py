"""The lines for gcloud and bq, read by a real shell."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from celes_beam.errors import MissingProgramError
from celes_beam.local import gcloud
from celes_beam.local.gcloud import export_lines, gcloud_lines
from celes_beam.local.state import Record

STORAGE = Record("storage", 1, 0, {"http": 11}, "", {})
BIGQUERY = Record("bigquery", 1, 0, {"http": 12, "grpc": 13}, "", {})
PUBSUB = Record("pubsub", 1, 0, {"http": 14}, "", {})
GOOGLES = {
    "rootUrl": "https://bigquery.googleapis.com/",
    "baseUrl": "https://bigquery.googleapis.com/bigquery/v2/",
    "mtlsRootUrl": "https://bigquery.mtls.googleapis.com/",
    "servicePath": "bigquery/v2/",
}


@pytest.fixture
def sdk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder like that of the Google Cloud CLI."""
    description = tmp_path / "sdk" / "platform" / "bq" / "discovery_next" / "bigquery.json"
    description.parent.mkdir(parents=True)
    description.write_text(json.dumps(GOOGLES))
    monkeypatch.setattr(gcloud, "find_sdk", lambda: tmp_path / "sdk")
    return description


def shell(*lines: str) -> str:
    run = subprocess.run(
        ["sh", "-c", "\n".join(lines)], capture_output=True, text=True, check=True, timeout=30
    )
    return run.stdout


def test_a_shell_reads_what_is_exported() -> None:
    value = "a 'b' $c \\ \"d\""
    assert shell(*export_lines({"X": value}), 'printf %s "$X"') == value


def test_bq_is_a_function_with_the_address_and_files_of_the_folder(
    tmp_path: Path, sdk: Path
) -> None:
    folder = tmp_path / "la nube's"
    lines = gcloud_lines(folder, [STORAGE, BIGQUERY, PUBSUB], "celes-dev")
    # What the function calls is stood in for by one that shows what it was given.
    shown = shell(*lines, 'command() { printf "%s\\n" "$@"; }', "bq query 'select 1'").splitlines()
    place = folder.resolve() / "gcloud"
    assert shown == [
        "bq",
        f"--bigqueryrc={place}/bigqueryrc",
        "--api=http://127.0.0.1:12",
        f"--discovery_file={place}/bigquery.json",
        "--project_id=celes-dev",
        "query",
        "select 1",
    ]
    assert (place / "bigqueryrc").read_text() == ""
    assert json.loads((place / "bigquery.json").read_bytes()) == {
        "rootUrl": "http://127.0.0.1:12/",
        "baseUrl": "http://127.0.0.1:12/bigquery/v2/",
        "servicePath": "bigquery/v2/",
    }
    names = ("STORAGE", "PUBSUB")
    show = [f'echo "$CLOUDSDK_API_ENDPOINT_OVERRIDES_{name}"' for name in names]
    assert shell(*lines, *show).split() == ["http://127.0.0.1:11/", "http://127.0.0.1:14/"]
    assert shell(*lines, 'printf %s "$CLOUDSDK_CONFIG"') == f"{place}/config"


def test_without_bigquery_its_files_are_not_needed(tmp_path: Path, sdk: Path) -> None:
    sdk.unlink()
    lines = gcloud_lines(tmp_path, [STORAGE], "celes-dev")
    assert not any(line.startswith("bq") for line in lines)
    with pytest.raises(MissingProgramError, match="gcloud components update"):
        gcloud_lines(tmp_path, [BIGQUERY], "celes-dev")
