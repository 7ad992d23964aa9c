from __future__ import annotations

from typing import Any

import msgspec
import pytest

from celes_beam.compare.conclusion import raise_unless_equal
from celes_beam.errors import DisagreementError, EngineError, MissingProgramError
from celes_beam.report.comparison import Comparison, Difference, EngineRun, Machine, State

MACHINE = Machine(cores=2, memory_gb=8.0, python="3.11.7")
DIFFERENCE = Difference(
    engine="b", against="a", table="whole", key="", column="rows", value=1, expected=2
)


def comparison(*states: State, **fields: Any) -> Comparison:
    runs = tuple(
        EngineRun(engine=name, rows=1, state=state, why=f"why {name}" if state != "ok" else "")
        for name, state in zip("abc", states, strict=False)
    )
    whole = Comparison(machine=MACHINE, rounds=1, input="lake", agree=True, runs=runs)
    return msgspec.structs.replace(whole, **fields)


def test_one_result_is_enough() -> None:
    raise_unless_equal(comparison("skipped", "ok", "failed"))


def test_results_that_are_not_equal_end_with_4() -> None:
    with pytest.raises(DisagreementError, match="1 figures of b are not those of a") as raised:
        raise_unless_equal(comparison("ok", "differs", differences=(DIFFERENCE,)))
    assert raised.value.exit_code == 4


def test_no_result_at_all_ends_with_1() -> None:
    with pytest.raises(EngineError, match="no engine gave a result: b: why b") as raised:
        raise_unless_equal(comparison("skipped", "failed"))
    assert raised.value.exit_code == 1


def test_no_engine_at_all_ends_with_2() -> None:
    with pytest.raises(MissingProgramError, match="none of the engines is installed: why a"):
        raise_unless_equal(comparison("skipped"))
