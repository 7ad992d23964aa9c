"""Programs that some tests run against: found, or asked for by the command that brings them."""

from __future__ import annotations

import importlib
import os
import shutil
from pathlib import Path
from typing import Any, NoReturn

import pytest

ROOT = Path(__file__).resolve().parents[1]


def need_tool(name: str, install: str) -> str:
    """Path of a program in ``.tools/bin`` or on PATH; without it CI fails, and others skip."""
    built = ROOT / ".tools" / "bin" / name
    found = str(built) if built.exists() else shutil.which(name)
    if found:
        return found
    return missing(f"{name} is missing: {install}")


def need_module(name: str, install: str) -> Any:
    """Import a module that only tests need; without it CI fails, and others skip."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return missing(f"{name} is missing: {install}")


def missing(message: str) -> NoReturn:
    """Something that tests need is not here: CI fails, and others skip."""
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)
