"""What tests of sales share."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def reference() -> ModuleType:
    """The slow, obvious judgement of rows in ``reference.py``, as a module."""
    path = Path(__file__).with_name("reference.py")
    spec = importlib.util.spec_from_file_location("sales_reference", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
