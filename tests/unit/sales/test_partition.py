from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from celes_beam.contract import CATEGORY, REGION
from celes_beam.errors import ConfigError
from celes_beam.sales.columns import micros, text_codes
from celes_beam.sales.partition import (
    PARTITION_COLUMNS,
    hive_path,
    parse_hive_path,
    parse_partition_by,
    partition_keys,
)
from tests.sales import sales_batch

TEXTS = st.text(min_size=1, max_size=8)
DATES = st.datetimes(datetime(2000, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))


@given(
    st.lists(st.tuples(TEXTS, TEXTS, st.just(1), DATES), min_size=1, max_size=40),
    st.permutations(PARTITION_COLUMNS),
    st.integers(0, 5),
)
def test_each_row_falls_into_the_partition_of_its_values(
    rows: list[tuple[str, str, int, datetime]], columns: list[str], how_many: int
) -> None:
    names = tuple(columns[:how_many])
    batch = sales_batch([r[:3] for r in rows], [r[3] for r in rows])
    texts = {name: text_codes(batch.column(name)) for name in (CATEGORY, REGION)}

    keys = partition_keys(names, texts, micros(batch))

    for code, (category, region, _, when) in zip(keys.codes.tolist(), rows, strict=True):
        values = {
            CATEGORY: category,
            REGION: region,
            "fecha": f"{when:%Y-%m-%d}",
            "mes": f"{when:%Y-%m}",
            "anio": f"{when:%Y}",
        }
        assert keys.partition(code) == {name: values[name] for name in names}


@pytest.mark.parametrize("distinct", [255, 256, 257, 65535, 65536, 65537])
def test_codes_are_wide_enough_for_many_partitions(distinct: int) -> None:
    codes = np.arange(distinct, dtype=np.int32)
    texts = {REGION: (codes, [str(i) for i in range(distinct)]), CATEGORY: (codes, ["x"])}

    keys = partition_keys((REGION,), texts, np.zeros(distinct, np.int64))

    assert len(np.unique(keys.codes)) == distinct
    assert keys.partition(int(keys.codes[-1])) == {REGION: str(distinct - 1)}


@given(st.dictionaries(st.sampled_from(PARTITION_COLUMNS), TEXTS, max_size=3))
def test_values_survive_the_way_into_a_path_and_back(partition: dict[str, str]) -> None:
    path = hive_path(partition)

    assert parse_hive_path(f"{path}/part-1.parquet") == partition
    assert len(path.split("/")) == max(len(partition), 1)


def test_paths_are_escaped_as_hive_does() -> None:
    assert hive_path({REGION: "Café/Norte=50%: a b"}) == (
        "region_de_venta=Café%2FNorte%3D50%25%3A a b"
    )


def test_partition_by_is_read_from_a_comma_list() -> None:
    assert parse_partition_by("region_de_venta, mes") == (REGION, "mes")
    assert parse_partition_by("none") == ()


@pytest.mark.parametrize("text", ["", "none,mes", "mes,mes", "dia", "id_cliente"])
def test_partition_by_names_what_it_does_not_know(text: str) -> None:
    with pytest.raises(ConfigError, match="--partition_by"):
        parse_partition_by(text)
