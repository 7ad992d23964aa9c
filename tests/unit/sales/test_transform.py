from __future__ import annotations

import pickle
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from celes_beam.contract import AMOUNT, COLUMN_NAMES, REGION
from celes_beam.errors import ConfigError, TransformError
from celes_beam.sales.transform import Transform, fields_batch, unlike_names
from celes_beam.sales.transformed import check_transformed
from tests.sales import RULES

Written = Callable[[str], None]

BATCH = fields_batch(
    {
        "id_cliente": pa.array(["1", "2"]),
        "fecha_de_transaccion": pa.array(["2024-01-31", "2024-02-01"]),
        "cantidad_de_venta": pa.array(["5.50", "7"]),
        "categoria_de_producto": pa.array(["Hogar", "Ropa"]),
    },
    [("canal", pa.array(["web", None]))],
    2,
)


@pytest.fixture
def hooks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Written]:
    """Write ``hooks.py`` into the current folder; what was imported is forgotten at the end."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])

    def write(text: str) -> None:
        sys.modules.pop("hooks", None)
        (tmp_path / "hooks.py").write_text(textwrap.dedent(text))

    yield write
    sys.modules.pop("hooks", None)


def error_of(reference: str) -> str:
    with pytest.raises(ConfigError) as raised:
        Transform(reference).check()
    return str(raised.value)


@pytest.mark.parametrize(
    "reference", ["", "hooks", "hooks:", ":clean", "a:b:c", "hooks.py:clean", "../x:y", "h:1"]
)
def test_a_reference_is_module_and_function(reference: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"--transform {reference}")):
        Transform(reference)


def test_a_function_of_the_current_folder_is_found_and_gets_the_batch(hooks: Written) -> None:
    hooks(
        """
        import pyarrow as pa

        def clean(batch):
            return batch.set_column(4, "region_de_venta", pa.repeat("Norte", batch.num_rows))
        """
    )
    transform = Transform("hooks:clean")
    transform.check()

    assert BATCH.schema.names == [*COLUMN_NAMES, "canal"]
    assert BATCH.column(REGION).null_count == 2
    assert transform.apply(BATCH).column(REGION).to_pylist() == ["Norte", "Norte"]
    assert transform.apply(BATCH).column("canal").to_pylist() == ["web", None]


def test_it_can_be_pickled_once_it_was_used(hooks: Written) -> None:
    hooks("clean = lambda batch: batch")
    transform = Transform("hooks:clean", "--fix")
    transform.check()

    copy = pickle.loads(pickle.dumps(transform))

    assert copy == transform
    assert copy.apply(BATCH) is BATCH


def test_attributes_of_a_class_will_do(hooks: Written) -> None:
    hooks(
        """
        class Shop:
            @staticmethod
            def clean(batch):
                return batch
        """
    )
    Transform("hooks:Shop.clean").check()


def test_misspelt_names_are_told_with_the_nearest(hooks: Written) -> None:
    hooks("def clean(batch): ...\nclear = 5")

    assert "no module 'hoks' in " in error_of("hoks:clean")
    assert error_of("hoks:clean").endswith("perhaps hooks")
    assert error_of("hooks:claen").endswith("hooks.py has no 'claen': perhaps clean")
    assert "no module 'pyarrow.compte'" in error_of("pyarrow.compte:f")
    assert error_of("pyarrow.compte:f").endswith("perhaps compute")
    assert "--transform hooks:clear is builtins.int: expected a function" in error_of("hooks:clear")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("import no_such_package", "No module named 'no_such_package' (hooks.py, line 1"),
        ("def clean(batch:", "SyntaxError"),
        ("1 / 0", "ZeroDivisionError: division by zero (hooks.py, line 1, in <module>)"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("def clean(): ...", "does not take one record batch (too many positional arguments)"),
        ("def clean(a, b): ...", "does not take one record batch (missing a required argument"),
    ],
)
def test_what_cannot_be_used_is_told_before_anything_runs(
    hooks: Written, text: str, says: str
) -> None:
    hooks(text)

    message = error_of("hooks:clean")

    assert says in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("raise KeyError('canal')", "raised KeyError: 'canal' (hooks.py, line 5, in clean)"),
        ("helper()", "raised ValueError: bad line (hooks.py, line 8, in helper)"),
        ("batch['none']", "raised KeyError: "),
        ("sys.exit('enough')", "raised SystemExit: enough (hooks.py, line 5, in clean)"),
        ("raise Odd", "raised Odd (hooks.py, line 5, in clean)"),
        ("return None", "returned builtins.NoneType: expected a pyarrow.RecordBatch"),
        ("return pa.table(batch)", "returned pyarrow.lib.Table: expected"),
        ("return batch.slice(1)", "returned 1 rows for 2: expected one for each"),
        ("return batch.select([0, 1, 3])", "returned no columns cantidad_de_venta: expected one"),
        (
            "return pa.RecordBatch.from_arrays([*batch.columns, batch[0]], "
            "[*batch.schema.names, 'id_cliente'])",
            "returned 2 columns id_cliente",
        ),
    ],
)
def test_a_failure_names_function_exception_and_place(hooks: Written, body: str, says: str) -> None:
    hooks(
        f"""
        import sys; import pyarrow as pa

        def clean(batch):
            {body}

        def helper():
            raise ValueError("bad\\n line")

        class Odd(Exception):
            def __str__(self):
                return 1 / 0
        """
    )
    with pytest.raises(TransformError) as raised:
        Transform("hooks:clean").apply(BATCH)

    assert f"--transform hooks:clean {says}" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_an_interrupt_is_not_taken_for_a_failure(hooks: Written) -> None:
    hooks("def clean(batch): raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        Transform("hooks:clean").apply(BATCH)


def test_names_are_made_unlike() -> None:
    assert unlike_names(["a", "b", "a", "a_2", "a"]) == ["a", "b", "a_3", "a_2", "a_4"]
    again = fields_batch({}, [("x", pa.array(["1"])), ("id_cliente", pa.array(["2"]))], 1)
    assert again.schema.names == [*COLUMN_NAMES, "x", "id_cliente_2"]


def check(transform: Transform) -> Any:
    return check_transformed(
        transform,
        BATCH,
        source="v.csv",
        positions=np.array([10, 20]),
        raws=lambda rows: pa.array([b"ab"[i : i + 1] for i in rows], pa.binary()),
        rules=RULES,
    )


def test_what_comes_back_is_judged_and_a_rejected_row_stays_as_it_was_read(hooks: Written) -> None:
    hooks(
        """
        import pyarrow as pa

        def clean(batch):
            return pa.RecordBatch.from_pydict({
                "region_de_venta": ["Norte", "Sur"],
                "cantidad_de_venta": [5.5, -1.0],
                "id_cliente": batch["id_cliente"],
                "fecha_de_transaccion": batch["fecha_de_transaccion"],
                "categoria_de_producto": batch["categoria_de_producto"].dictionary_encode(),
            })
        """
    )
    result = check(Transform("hooks:clean"))

    assert result.accepted.column(AMOUNT).to_pylist() == [pytest.approx(5.5)]
    (row,) = result.rejected.to_pylist()
    assert (row["position"], row["raw"], row["reasons"]) == (20, b"b", ["out_of_range"])
    assert (row["column"], row["value"]) == (AMOUNT, "-1")


def test_when_it_fails_all_its_rows_are_rejected(hooks: Written) -> None:
    hooks("def clean(batch): raise RuntimeError('no tariff')")

    rows = check(Transform("hooks:clean")).rejected.to_pylist()

    assert [(r["position"], r["raw"]) for r in rows] == [(10, b"a"), (20, b"b")]
    assert {(*r["reasons"], r["column"]) for r in rows} == {("transform_failed", None)}
    assert "RuntimeError: no tariff (hooks.py, line 1, in clean)" in rows[0]["value"]


def test_a_type_that_cannot_be_read_is_a_failure_too(hooks: Written) -> None:
    hooks(
        """
        import pyarrow as pa

        def clean(batch):
            ends = pa.array([batch.num_rows], pa.int32())
            odd = pa.RunEndEncodedArray.from_arrays(ends, pa.array(["x"]).dictionary_encode())
            return batch.set_column(4, "region_de_venta", odd)
        """
    )
    rows = check(Transform("hooks:clean")).rejected.to_pylist()

    assert "returned columns of types that cannot be read" in rows[0]["value"]
    assert len(rows) == 2
