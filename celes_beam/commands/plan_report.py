"""A plan, as people and programs read it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from celes_beam.commands.console import facts_table
from celes_beam.doctor.check import Check, State

if TYPE_CHECKING:
    from rich.console import Console

    from celes_beam.plan.cost import Estimate
    from celes_beam.plan.job import Job
    from celes_beam.plan.quotas import Need


@dataclass(frozen=True)
class Plan:
    """All that is told of a job. ``parameters`` are flags of the pipeline with their values.

    ``reads`` is for people, ``figures`` the same for programs; ``estimate`` is None where it
    cannot be told, and ``unpriced`` says why then.
    """

    job: Job
    parameters: Mapping[str, Any]
    reads: str
    figures: Mapping[str, Any]
    needs: Sequence[Need]
    checks: Sequence[Check]
    estimate: Estimate | None
    unpriced: str
    prices: str

    @property
    def failed(self) -> int:
        """How many checks failed."""
        return sum(check.state is State.FAILED for check in self.checks)

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        cost = None
        if self.estimate is not None:
            cost = {
                "title": self.estimate.title,
                "currency": self.estimate.currency,
                "total": round(self.estimate.total, 4),
                "workers": self.estimate.workers,
                "hours": self.estimate.hours,
                "lines": [
                    {**asdict(line), "amount": round(line.amount, 6)}
                    for line in self.estimate.lines
                ],
                "supposed": list(self.estimate.supposed),
            }
        return {
            "ok": not self.failed,
            "job": dict(self.job.facts()),
            "parameters": dict(self.parameters),
            "reads": dict(self.figures),
            "quotas": [{**asdict(need), "exceeded": need.exceeded} for need in self.needs],
            "checks": [asdict(check) for check in self.checks],
            "cost": cost,
            "unpriced": self.unpriced,
            "prices": self.prices,
        }

    def print(self, console: Console) -> None:
        """Print it for people."""
        from rich.markup import escape  # noqa: PLC0415 - slow to import: not for --help

        facts = facts_table()
        facts.columns[1].justify = "left"
        for name, value in self.job.facts():
            facts.add_row(name, escape(value))
        for name, value in self.parameters.items():
            shown = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            facts.add_row(f"--{name}", escape(shown))
        facts.add_row("reads", escape(self.reads))
        for need in self.needs:
            facts.add_row(f"needs {need.name}", _of_limit(need))
        console.print(facts)
        self._print_checks(console)
        self._print_cost(console)

    def _print_checks(self, console: Console) -> None:
        from rich.markup import escape  # noqa: PLC0415

        counts = Counter(check.state for check in self.checks)
        said = [f"{counts[state]} {state.value}" for state in State if counts[state]]
        console.print(f"\n{len(self.checks)} checks: {', '.join(said) or 'nobody was asked'}")
        for check in self.checks:
            if check.state is State.OK:
                continue
            remedy = f" -> {check.remedy}" if check.remedy else ""
            line = f"{check.state.value}: {check.name}: {check.said}{remedy}"
            console.print(f"  {escape(' '.join(line.split()))}", soft_wrap=True, highlight=False)

    def _print_cost(self, console: Console) -> None:
        from rich.table import Table  # noqa: PLC0415 - slow to import: not for --help

        if self.estimate is None:
            console.print(f"\nCost: {self.unpriced}", soft_wrap=True, highlight=False)
            return
        found = self.estimate
        table = Table(box=None, pad_edge=False, header_style="dim")
        table.add_column("cost of")
        for name in ("quantity", "unit", "price", found.currency):
            table.add_column(name, justify="left" if name == "unit" else "right")
        for line in found.lines:
            table.add_row(
                line.name,
                f"{line.quantity:,.3f}",
                line.unit + (f", {line.free:.3g} free" if line.free else ""),
                _price(line.price),
                f"{line.amount:,.2f}",
            )
        table.add_row("all", "", "", "", f"{found.total:,.2f}", style="bold")
        console.print(f"\nCost of {found.title}:", highlight=False)
        console.print(table)
        hours = f"{found.hours:,.2f} h" if found.hours >= 0.1 else f"{found.hours * 60:,.1f} min"
        console.print(
            f"Supposed: {found.workers} worker(s) for {hours}; {'; '.join(found.supposed)}.\n"
            f"Prices: {self.prices}.",
            soft_wrap=True,
            highlight=False,
        )


def _price(price: float) -> str:
    return f"{price:.7f}".rstrip("0").rstrip(".")


def _of_limit(need: Need) -> str:
    if need.limit is None:
        told = f" (gcloud compute regions describe tells: {need.metric})" if need.metric else ""
        return f"{need.needed:,.0f}; limit not known{told}"
    left = need.limit - need.used
    short = ": MORE THAN IS LEFT" if need.exceeded else ""
    return f"{need.needed:,.0f} of {left:,.0f} left{short}"
