"""A file with everything wrong that files have wrong, thousands of times over."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from celes_beam.config import Config
from celes_beam.contract import AMOUNT, MAX_RAW_BYTES
from celes_beam.sales.breakage import KINDS, break_csv, count_by_reason, plan_breakage
from celes_beam.sales.columns import cents
from celes_beam.sales.generate import Generator
from pipelines.batch import run

HEADER = (
    "\ufeffID_CLIENTE, Fecha_de_transacción ,cantidad_de_venta,Categoría_de_Producto,"
    "region_de_venta"
)
ROWS = 100_000
RATE = 0.6
QUOTED = '7,2024-05-03,"12.34","Hogar, ""cocina""\r\ny baño",Norte'
UNCLOSED = '8,2024-05-03,1.00,"Hogar,Norte'
LONG = "9,2024-05-03,1.00," + "x" * 2_000_000 + ",Norte"


@pytest.fixture(scope="module")
def messy(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, int], int]:
    """The file, the rejected rows by reason it must give, and the cents of its good rows."""
    generator = Generator(Config())
    indexes, kinds = plan_breakage(42, 0, ROWS, RATE)
    assert Counter(kinds.tolist()).keys() == set(range(len(KINDS)))
    assert min(Counter(kinds.tolist()).values()) > 1000
    lines = break_csv(generator.columns(0, ROWS), indexes, kinds).to_pybytes()
    body = lines.replace(b"\n", b"\r\n").split(b"\r\n")[:-1]
    extra = [QUOTED.encode(), b"", LONG.encode()]
    for place in range(0, ROWS, 10_000):
        body[place:place] = extra
    path = tmp_path_factory.mktemp("messy") / "ventas.csv"
    # The unclosed quote comes last: what it swallows is itself alone.
    content = b"\r\n".join([HEADER.encode(), *body, UNCLOSED.encode()]) + b"\r\n"
    path.write_bytes(content)
    expected = Counter({str(r): n for r, n in count_by_reason(kinds).items()})
    expected["malformed"] += ROWS // 10_000 + 1
    good = np.ones(ROWS, dtype=bool)
    good[indexes] = False
    total = int(cents(generator.batch(0, ROWS))[good].sum()) + 1234 * (ROWS // 10_000)
    return path, dict(expected), total


def test_every_row_is_accepted_or_rejected_for_its_reason(
    messy: tuple[Path, dict[str, int], int], tmp_path: Path
) -> None:
    path, expected, total = messy
    config = tmp_path / "known.toml"
    texts = [*Config().categories, 'Hogar, "cocina"\r\ny baño']
    config.write_text("categories = [" + ", ".join(_toml(t) for t in texts) + "]\n")
    regions = ",".join(Config().regions)
    flags = ["--config", str(config), "--regions", regions, "--progress", "off"]

    manifest = run(["-i", str(path), "-o", str(tmp_path / "lake"), *flags]).manifest

    assert manifest.rejected_by_reason == expected
    assert manifest.rows_read == ROWS + 2 * (ROWS // 10_000) + 1
    assert manifest.rows_read == manifest.rows_accepted + sum(expected.values())
    assert Decimal(manifest.total) == Decimal(total).scaleb(-2)


def _toml(text: str) -> str:
    escaped = text.replace('"', '\\"').replace("\r\n", "\\r\\n")
    return f'"{escaped}"'


def test_every_rejected_row_is_found_where_it_says(
    messy: tuple[Path, dict[str, int], int], tmp_path: Path
) -> None:
    path, _, _ = messy
    manifest = run(["-i", str(path), "-o", str(tmp_path / "lake"), "--progress", "off"]).manifest

    content = path.read_bytes()
    rejected = pq.read_table(tmp_path / "lake" / "_rejected" / manifest.run_id)
    rows = rejected.select(["position", "raw", "reasons", "column", "value"]).to_pylist()
    assert len(rows) == len({row["position"] for row in rows}) == manifest.rows_rejected
    for row in rows:
        start, raw = row["position"], row["raw"]
        end = start + len(raw)
        assert content[start - 2 : start] == b"\r\n"
        assert content[start:end] == raw
        assert len(raw) == MAX_RAW_BYTES or content[end : end + 2] == b"\r\n"
        if row["column"] == AMOUNT and row["value"]:
            assert row["value"].encode() in raw
