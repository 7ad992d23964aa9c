"""checkov finds nothing that is not excused, and each excuse says why."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.infra.terraform import INFRA
from tests.tools import ROOT, missing

pytestmark = pytest.mark.infra

_EXCUSE = re.compile(r"#\s*checkov:skip=(?P<check>\w+):(?P<why>.*)")


def checkov(folder: Path, report: Path) -> list[str]:
    """Check and resource of what checkov holds against a folder."""
    program = ROOT / ".venv-tools" / "bin" / "checkov"
    if not program.exists():
        missing("checkov is missing: make infra-tools")
    arguments = ["--directory", str(folder), "--framework", "terraform", "--skip-download"]
    arguments += ["--output", "json", "--quiet", "--soft-fail"]
    done = subprocess.run(
        [str(program), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=report,
        env={**os.environ, "LOG_LEVEL": "ERROR"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads(done.stdout)["results"]
    return [f"{found['check_id']} {found['resource']}" for found in results["failed_checks"]]


def test_nothing_is_held_against_us(tmp_path: Path) -> None:
    assert checkov(INFRA, tmp_path) == []


def test_a_public_bucket_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "public"
    folder.mkdir()
    (folder / "main.tf").write_text(
        'resource "google_storage_bucket" "open" {\n  name = "open"\n  location = "EU"\n}\n'
    )
    assert any(found.startswith("CKV_GCP_114") for found in checkov(folder, tmp_path))


def test_each_excuse_stands_in_its_resource_and_says_why() -> None:
    for path in sorted(INFRA.glob("*.tf")):
        lines = path.read_text().splitlines()
        for number, line in enumerate(lines):
            found = _EXCUSE.search(line)
            if found is None:
                assert "checkov:skip" not in line, f"{path.name}:{number + 1}"
                continue
            assert len(found["why"]) > 30, f"{path.name}:{number + 1}"
            above = [text for text in lines[:number] if not text.lstrip().startswith("#")]
            assert above[-1].startswith("resource "), f"{path.name}:{number + 1}"
