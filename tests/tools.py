"""Programs that some tests run against: found, or asked for by the command that brings them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def need_tool(name: str, install: str) -> str:
    """Path of a program in ``.tools/bin`` or on PATH; without it CI fails, and others skip."""
    built = ROOT / ".tools" / "bin" / name
    found = str(built) if built.exists() else shutil.which(name)
    if found:
        return found
    message = f"{name} is missing: {install}"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)
