from __future__ import annotations

import sys
from pathlib import Path

import pytest

from celes_beam.compare.generated import generated_lake
from celes_beam.errors import ConfigError, StorageError
from celes_beam.stores.lake.lake import Lake
from tests.lakes import commit_sales


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a lake of two rows, and no program that could make another."""
    commit_sales(Lake.open(str(tmp_path / "rows-2")), "one", [("Ropa", "Sur", 1)] * 2)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    return tmp_path


def test_a_lake_that_is_there_is_used_again(kept: Path) -> None:
    assert generated_lake(kept, 2) == str(kept / "rows-2")


def test_something_else_is_not(kept: Path) -> None:
    (kept / "rows-2").rename(kept / "rows-3")
    with pytest.raises(ConfigError, match=r"--keep .*: rows-3 is there and is no lake of 3 rows"):
        generated_lake(kept, 3)


def test_why_none_could_be_made_is_told(kept: Path) -> None:
    with pytest.raises(StorageError, match="a lake of 4 rows could not be generated: its log is"):
        generated_lake(kept, 4)
