"""The real terraform on a copy of ``infra/``: with Google's provider, or the stand-in of it.

``CELES_TERRAFORM_REGISTRY=1`` takes Google's own provider from the registry.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.tools import ROOT, missing, need_tool

INFRA = ROOT / "infra"
MIRROR = ROOT / ".tools" / "terraform"
FROM_REGISTRY = os.environ.get("CELES_TERRAFORM_REGISTRY") == "1"
GIVEN = {"project": "my-sales-1234", "project_number": "123456789012", "region": "europe-west1"}
EVERYTHING = {
    **GIVEN,
    "image_version": "0.1.0",
    "streaming": True,
    "live_windows": "1m",
    "landing_delete_after_days": 400,
    "github_repository": "my-company/celes-beam",
    "billing_account": "012345-6789AB-CDEF01",
    "alert_emails": ["sales-data@example.com"],
    "publishers": ["serviceAccount:shop@my-shop-1234.iam.gserviceaccount.com"],
    "uploaders": ["group:sales-exports@example.com"],
    "launchers": ["group:data-engineers@example.com"],
    "report_viewers": ["serviceAccount:agent@looker.iam.gserviceaccount.com"],
    "report_editors": ["group:sales-reports@example.com"],
}
"""Every variable that makes something, so that a plan has all there can be."""

_LOCAL_STATE = 'terraform {\n  backend "local" {}\n}\n'
_MIRROR = """
provider_installation {{
  filesystem_mirror {{
    path    = "{mirror}"
    include = ["registry.terraform.io/hashicorp/*"]
  }}
}}
"""


@dataclass(frozen=True)
class Planned:
    """A resource as it is planned: its type, address and the values that are known."""

    kind: str
    address: str
    values: dict[str, Any]


@dataclass(frozen=True)
class Workspace:
    """A copy of ``infra/`` with a state of its own, initialised."""

    folder: Path
    program: str
    environment: dict[str, str]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run terraform here."""
        return subprocess.run(
            [self.program, *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def refused(self, variables: dict[str, Any]) -> str:
        """What terraform says of variables that it does not take, in one line."""
        done = self.run("plan", "-input=false", "-no-color", self._given(variables))
        assert done.returncode == 1, done.stdout
        return " ".join(done.stderr.replace("│", " ").split())

    def plan(self, variables: dict[str, Any]) -> list[Planned]:
        """The resources that are planned; fails with what terraform says."""
        planned = self.run(
            "plan", "-input=false", "-no-color", "-out=it.plan", self._given(variables)
        )
        assert planned.returncode == 0, planned.stdout + planned.stderr
        shown = self.run("show", "-json", "it.plan")
        assert shown.returncode == 0, shown.stderr
        module = json.loads(shown.stdout)["planned_values"]["root_module"]
        return [
            Planned(found["type"], found["address"], found["values"])
            for found in module["resources"]
            if found["mode"] == "managed"
        ]

    def _given(self, variables: dict[str, Any]) -> str:
        path = self.folder / "given.tfvars.json"
        path.write_text(json.dumps(variables), encoding="utf-8")
        return f"-var-file={path.name}"


def open_workspace(folder: Path) -> Workspace:
    """Copy ``infra/`` and initialise the copy."""
    program = need_tool("terraform", "https://developer.hashicorp.com/terraform/install")
    settings = folder / "terraform.rc"
    settings.write_text(
        "disable_checkpoint = true\n" + ("" if FROM_REGISTRY else _MIRROR.format(mirror=MIRROR)),
        encoding="utf-8",
    )
    if not FROM_REGISTRY and not MIRROR.is_dir():
        missing("the stand-in provider is missing: make infra-tools (needs Go)")
    copy = folder / "infra"
    ignored = shutil.ignore_patterns(".terraform*", "*.tfstate*", "terraform.tfvars")
    shutil.copytree(INFRA, copy, ignore=ignored)
    (copy / "backend_override.tf").write_text(_LOCAL_STATE, encoding="utf-8")
    # The provider asks nobody for credentials, and at a plan from nothing Google for nothing.
    own = {"TF_CLI_CONFIG_FILE": str(settings), "GOOGLE_OAUTH_ACCESS_TOKEN": "none", "TF_LOG": ""}
    kept = {k: v for k, v in os.environ.items() if not k.startswith("TF_")}
    workspace = Workspace(copy, program, {**kept, **own})
    done = workspace.run("init", "-input=false", "-no-color")
    assert done.returncode == 0, done.stdout + done.stderr
    return workspace
