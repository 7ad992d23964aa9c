"""How a comparison came out, as an exit code."""

from __future__ import annotations

from collections.abc import Iterable

from celes_beam.errors import DisagreementError, EngineError, MissingProgramError
from celes_beam.report.comparison import Comparison


def raise_unless_equal(comparison: Comparison) -> None:
    """Raise unless there is a result, and all that there are, are equal.

    ``DisagreementError`` when they are not, ``EngineError`` when every engine failed, and
    ``MissingProgramError`` when none is installed.
    """
    if comparison.differences:
        engines = _list(one.engine for one in comparison.differences)
        others = _list(one.against for one in comparison.differences)
        raise DisagreementError(
            f"results are not equal: {len(comparison.differences):,} figures of {engines} are not "
            f"those of {others}"
        )
    states = {run.state for run in comparison.runs}
    if states == {"skipped"}:
        why = "; ".join(dict.fromkeys(run.why for run in comparison.runs))
        raise MissingProgramError(f"none of the engines is installed: {why}")
    if "ok" not in states:
        why = "; ".join(f"{r.engine}: {r.why}" for r in comparison.runs if r.state == "failed")
        raise EngineError(f"no engine gave a result: {why}")


def _list(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(names))
