"""Sentences and cells of a page that take more than filling in a word."""

from __future__ import annotations

from decimal import Decimal

from celes_beam.report.comparison import Machine
from celes_beam.report.content import Content, Verdict
from celes_beam.report.figures import Figures
from celes_beam.report.lake_facts import CommitFacts
from celes_beam.report.reader_format import visible
from celes_beam.report.texts import Texts
from celes_beam.stores.lake.manifest import RejectedExample

_VALUE_SHOWN = 80


def lead(sales: Figures, words: Texts) -> list[str]:
    """The answer in a few sentences; none when there are no rows."""
    if not sales.rows:
        return []
    form = words.form
    first, highest = sales.by_category[0], sales.by_region[0]
    month = max(sales.by_month, key=lambda m: Decimal(m.total))
    return [
        words.lead_category.format(
            name=first.categoria_de_producto,
            total=form.amount(first.total),
            share=form.share(first.share),
        ),
        words.lead_region.format(name=highest.region_de_venta, mean=form.amount(highest.mean)),
        words.lead_month.format(month=form.month(month.month), total=form.amount(month.total)),
    ]


def origin(run: CommitFacts, words: Texts) -> str:
    """Where the rows of a commit came from."""
    text = "—"
    if run.kind == "compact":
        text = words.merged
    elif run.seed is not None:
        text = words.generated.format(seed=run.seed)
    elif run.replayed_from is not None:
        text = words.from_replay.format(source=run.replayed_from)
    elif run.streamed:
        text = words.streamed.format(count=words.form.number(run.inputs))
    elif run.first_input is not None:
        text = run.first_input
        if run.inputs > 1:
            more = words.form.number(run.inputs - 1)
            text = words.more_inputs.format(first=text, count=more)
    return text


def described(example: RejectedExample, words: Texts) -> str:
    """What is wrong with a rejected row, and where it stands."""
    value = None if example.value is None else visible(example.value[:_VALUE_SHOWN])
    where = {"source": visible(example.source), "position": words.form.number(example.position)}
    if example.column is None and value is not None:
        return words.example_file.format(source=where["source"], value=visible(example.value))
    if example.column is None:
        return words.example_raw.format(raw=visible(example.raw[:_VALUE_SHOWN]), **where)
    shown = words.nothing if value is None else f"«{value}»"
    return words.example.format(column=example.column, value=shown, **where)


def verdict_text(verdict: Verdict, words: Texts) -> str:
    """Whether engines agree, in a sentence."""
    if not verdict.agree:
        return words.disagree
    if not verdict.engines:
        return words.no_result
    if len(verdict.engines) == 1:
        return words.one_result.format(engine=visible(verdict.engines[0]))
    return words.agree.format(count=words.form.number(len(verdict.engines)))


def method_facts(content: Content, words: Texts) -> list[tuple[str, str]]:
    """How it was measured: names and values."""
    form, lake, compared = words.form, content.lake, content.comparison
    facts = [
        (
            words.pass_name,
            words.pass_.format(
                rows=form.number(content.sales.rows),
                files=form.number(lake.files),
                size=form.size(lake.bytes),
                seconds=form.seconds(content.seconds),
            ),
        ),
        (words.report_machine, _machine(content.machine, words)),
        (words.versions, _versions(content.machine)),
    ]
    if compared is None:
        return facts
    facts += [
        (words.compared, compared.input),
        (words.rounds, form.number(compared.rounds)),
        (words.comparison_machine, _machine(compared.machine, words)),
        (words.comparison_versions, _versions(compared.machine)),
    ]
    if compared.started_at:
        facts.append((words.when, form.moment(compared.started_at)))
    return facts


def _machine(machine: Machine, words: Texts) -> str:
    parts = [
        words.cores.format(count=words.form.number(machine.cores)),
        words.memory_of_machine.format(gb=words.form.number(machine.memory_gb, 1)),
        machine.system,
    ]
    return "; ".join(part for part in parts if part)


def _versions(machine: Machine) -> str:
    listed = [f"{name} {version}" for name, version in sorted(machine.versions.items())]
    return ", ".join([f"Python {machine.python}", *listed])
