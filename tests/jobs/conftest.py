"""What the tests of all engines share: a larger lake, and what Beam makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipelines import aggregate, batch
from tests.jobs.cases import sorted_table, without_engine


@dataclass(frozen=True)
class Million:
    """A lake of a million generated sales, the questions about it, and Beam's answer."""

    lake: Path
    questions: Sequence[str]
    result: dict[str, Any]
    ordered: pa.Table


@pytest.fixture(scope="session")
def million(tmp_path_factory: pytest.TempPathFactory) -> Million:
    folder = tmp_path_factory.mktemp("million")
    lake, output = folder / "lake", folder / "beam"
    batch.run(["--rows", "1_000_000", "--output", str(lake), "--progress", "off"])
    asked = ["-i", str(lake), "--sort_by", "fecha_de_transaccion", "--descending"]
    asked += ["--top", "1000", "--write_sorted", "--progress", "off"]
    summary = aggregate.run([*asked, "-o", str(output)])
    return Million(lake, asked, without_engine(summary.result), sorted_table(output))
