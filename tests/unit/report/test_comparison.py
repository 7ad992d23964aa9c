from __future__ import annotations

from pathlib import Path

import pytest

from celes_beam.errors import InputError
from celes_beam.report.comparison import (
    decode_comparison,
    encode_comparison,
    read_comparison,
)
from tests.comparisons import comparison


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "comparison.json"
    path.write_bytes(encode_comparison(comparison()))
    assert read_comparison(str(path)) == comparison()
    assert comparison().sizes == (1000, 100_000)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "comparison.json is not a comparison of this version: Input data was truncated"),
        (b"\xff", "comparison.json is not a comparison of this version"),
        (b"[]", "Expected `object`, got `array`"),
        (b"{}", "missing required field `machine`"),
        (
            encode_comparison(comparison()).replace(b'"skipped"', b'"asleep"'),
            "Invalid enum value 'asleep' - at `$.runs[4].state`",
        ),
        (
            encode_comparison(comparison()).replace(b'"rounds": 3', b'"rounds": 0'),
            "Expected `int` >= 1 - at `$.rounds`",
        ),
    ],
)
def test_what_is_no_comparison_is_refused(content: bytes, told: str) -> None:
    with pytest.raises(InputError, match="write it with celes-beam compare") as refused:
        decode_comparison(content, "comparison.json")
    assert told in str(refused.value)


def test_a_comparison_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--comparison .*/none.json cannot be read: No such file"):
        read_comparison(str(tmp_path / "none.json"))
