"""Engines that do as they are told: modules that a test writes, and ``compare`` runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from celes_beam.compare.catalog import Engine
from celes_beam.sales.aggregate import Share, Sums
from celes_beam.stores.results.results import Result, make_result

RESULT = make_result(
    "stub",
    Sums(
        {"Ropa": Share(2, 2020), "Hogar": Share(1, 1)},
        {"Norte": Share(1, 1010), "Sur": Share(2, 1011)},
    ),
)
_WRITE = """\
import json, os, sys
with open(sys.argv[sys.argv.index("--summary_json") + 1], "w") as file:
    json.dump({told!r}, file)
"""


def stub_engine(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    *,
    result: Result | None = RESULT,
    code: str = "",
    **fields: Any,
) -> Engine:
    """An engine whose process runs ``code`` and then writes ``result``, if there is one."""
    told = {} if result is None else {**result.to_dict(), "seconds": 0.01}
    text = code + "\n" + (_WRITE.format(told=told) if result is not None else "")
    (folder / f"stub_{name}.py").write_text(text, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.syspath_prepend(folder)
    return Engine(name, f"stub_{name}", (("json", "pyarrow"),), "pip install it", **fields)


def changed(**fields: Any) -> Result:
    """The stubs' result with other figures."""
    return msgspec.structs.replace(RESULT, **fields)
