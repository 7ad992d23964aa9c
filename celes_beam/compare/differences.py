"""Where results of engines are not equal, figure by figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from celes_beam.contract import CATEGORY, REGION
from celes_beam.report.comparison import Difference
from celes_beam.stores.results.results import Result

WHOLE = "whole"
_PLACE = "place"
_KEYS = {"by_category": CATEGORY, "by_region": REGION}
_Figures = dict[str, Any]


def are_equal(one: Result, other: Result) -> bool:
    """Whether two results are the same but for the name of the engine."""
    return msgspec.structs.replace(one, engine=other.engine) == other


def reference_of(results: Sequence[Result], rows: int | None, total: str | None) -> Result:
    """The result that the others are held against: that of which most are, the earliest of them.

    One that has the ``rows`` and the ``total`` that were committed, if these are known, comes
    before others.
    """

    def standing(result: Result) -> tuple[bool, int]:
        committed = rows is None or (result.rows, result.total) == (rows, total)
        return committed, sum(are_equal(result, other) for other in results)

    # The first of several that are highest.
    return max(results, key=standing)


def differences(
    result: Result, expected: Result, against: str, rows: int | None
) -> list[Difference]:
    """Each figure of a result that is not that of ``expected``, in the order of the tables.

    ``against`` names where ``expected`` is from; ``rows`` is the size of the data set. A line that
    only one of them has differs in all its columns.
    """
    found: list[Difference] = []

    def note(table: str, key: str, column: str, value: Any, wanted: Any) -> None:
        if value != wanted:
            found.append(
                Difference(
                    engine=result.engine,
                    against=against,
                    table=table,
                    key=key,
                    column=column,
                    value=value,
                    expected=wanted,
                    rows=rows,
                )
            )

    note(WHOLE, "", "rows", result.rows, expected.rows)
    note(WHOLE, "", "total", result.total, expected.total)
    ours, theirs = result.to_dict(), expected.to_dict()
    for table in (*_KEYS, "top"):
        mine, wanted = _lines(table, ours.get(table, ())), _lines(table, theirs.get(table, ()))
        for key in dict.fromkeys([*wanted, *mine]):
            for column in mine.get(key) or wanted[key]:
                value, other = mine.get(key, {}).get(column), wanted.get(key, {}).get(column)
                # Where a line is missing before it, that says all about the place of the next.
                if column != _PLACE or mine.keys() == wanted.keys():
                    note(table, key, column, value, other)
    return found


def not_as_committed(result: Result, rows: int, total: str, size: int) -> list[Difference]:
    """How the rows and total of a result are not those of the commits."""
    expected = msgspec.structs.replace(result, rows=rows, total=total)
    return differences(result, expected, "the commits", size)


def _lines(table: str, records: Sequence[_Figures]) -> Mapping[str, _Figures]:
    """The lines of a table by their key; first rows, which have none, by their places."""
    if table not in _KEYS:
        return {str(place): record for place, record in enumerate(records, 1)}
    key = _KEYS[table]
    return {
        record[key]: {_PLACE: place, **{n: v for n, v in record.items() if n != key}}
        for place, record in enumerate(records, 1)
    }
