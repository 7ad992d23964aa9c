"""All that a report says, before it is put into words: what its page embeds as JSON."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from celes_beam.report.comparison import Comparison, Machine
from celes_beam.report.figures import Figures, Told, gather, make_figures
from celes_beam.report.lake_facts import LakeFacts, describe_lake
from celes_beam.report.machine import this_machine
from celes_beam.stores.lake.lake_input import LakeInput


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of sales, the lake they come from, and engines side by side if they were compared.

    ``made_at`` is ISO 8601 in UTC; ``seconds`` is how long the pass over the files took.
    """

    made_at: str
    seconds: float
    sales: Figures
    lake: LakeFacts
    machine: Machine
    comparison: Comparison | None = None


@dataclass(frozen=True)
class Verdict:
    """Whether the results of a comparison agree with each other, and are those of this lake."""

    engines: tuple[str, ...]
    agree: bool
    of_this_data: bool

    @property
    def tone(self) -> str:
        """ "good" when all of several results are equal, "bad" when not, else nothing."""
        if not self.agree:
            return "bad"
        return "good" if len(self.engines) > 1 else ""


def make_content(
    found: LakeInput,
    comparison: Comparison | None = None,
    tell: Told = lambda rows, size: None,
    *,
    called: str | None = None,
) -> Content:
    """Read a lake or plain folder once, and gather all that its report says.

    It is ``called`` so where its root, a folder that is removed, would mean nothing. Raises
    ``IntegrityError`` when rows do not add up, and what the reader raises.
    """
    lake = describe_lake(found)
    if called is not None:
        lake = msgspec.structs.replace(lake, root=called)
    started = time.perf_counter()
    gathered = gather(found, tell)
    return Content(
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=round(time.perf_counter() - started, 3),
        sales=make_figures(gathered),
        lake=lake,
        machine=this_machine(),
        comparison=comparison,
    )


def judge(comparison: Comparison, sales: Figures) -> Verdict:
    """Judge a comparison: by its own word, and by whether a result has the sums of this lake."""
    runs = [run for run in comparison.runs if run.state in ("ok", "differs")]
    results = [run.result for run in runs if run.result is not None]
    return Verdict(
        engines=tuple(dict.fromkeys(run.engine for run in runs)),
        agree=comparison.agree and not comparison.differences,
        of_this_data=not results
        or any((r.rows, r.total) == (sales.rows, sales.total) for r in results),
    )
