from __future__ import annotations

import pytest

from celes_beam.errors import ConfigError
from celes_beam.stores.warehouse.table_name import TableName, parse_table_name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("my-project:sales.ventas", TableName("my-project", "sales", "ventas")),
        ("my-project.sales.ventas", TableName("my-project", "sales", "ventas")),
        (" my-project.sales.a-b_1 ", TableName("my-project", "sales", "a-b_1")),
        ("corp.com:my-project:s.t", TableName("corp.com:my-project", "s", "t")),
        ("corp.com:my-project.s.t", TableName("corp.com:my-project", "s", "t")),
    ],
)
def test_both_ways_of_writing_are_read(text: str, name: TableName) -> None:
    assert parse_table_name(text) == name


WRONG = (
    *("", "ventas", "sales.ventas", "my-project:sales", "P:s.t", "my-project:s-a.t"),
    *("my-project:s.t`", "my-project:s.t.u", "my-project:s.t$20240101", "my-project:s.*"),
    "my-project:s./x",
)


@pytest.mark.parametrize("text", WRONG)
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigError, match=r"expected PROJECT:DATASET\.TABLE, such as"):
        parse_table_name(text)


def test_names_that_follow_from_it() -> None:
    name = parse_table_name("my-project:sales.ventas")
    assert str(name) == "my-project:sales.ventas"
    assert name.path == "my-project.sales.ventas"
    assert str(name.rejected) == "my-project:sales.ventas_rechazadas"


def test_a_key_is_a_folder_of_one_table_alone() -> None:
    one = parse_table_name("corp.com:my-project:s.t")
    assert one.key == "corp.com+my-project.s.t"
