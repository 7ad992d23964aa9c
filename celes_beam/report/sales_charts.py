"""The charts of the answer: totals by category, means by region, the trend by month."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from celes_beam.report.chart import (
    ACCENT,
    INK,
    MOST_BARS,
    PALE,
    Chart,
    Mark,
    Scaled,
    bars,
    figures_axis,
    finish,
    inline,
    scaled,
)
from celes_beam.report.figures import Figures, MonthTotal
from celes_beam.report.reader_format import visible
from celes_beam.report.texts import Texts

_MONTHS_WITH_POINTS = 36
_MONTHS_HEIGHT = 220
_MOST_MONTHS_NAMED = 5


def sales_charts(figures: Figures, words: Texts) -> list[Chart]:
    """The charts of sales, in the order of the page; none when there are no rows."""
    if not figures.rows:
        return []
    return [
        category_chart(figures, words),
        region_chart(figures, words),
        *month_charts(figures, words),
    ]


def category_chart(figures: Figures, words: Texts) -> Chart:
    """Totals as bars, the largest first."""
    shown = figures.by_category[:MOST_BARS]
    unit = scaled([c.total for c in shown], words)
    marks = [
        Mark(c.categoria_de_producto, unit.value(c.total), _short(unit, c.total, words))
        for c in shown
    ]
    full = [(c.categoria_de_producto, words.form.amount(c.total)) for c in shown]
    return Chart(
        "categories",
        unit.caption(words.total),
        finish(bars(marks, words.category, unit.caption(words.total)), bars=len(marks)),
        _alt(words.alt_categories, full, words),
        _first_of(len(shown), figures.categories, words),
    )


def region_chart(figures: Figures, words: Texts) -> Chart:
    """Means as bars, the highest first, with a line at the mean of all rows."""
    import altair as alt  # noqa: PLC0415 - slow to import, and an extra

    shown = figures.by_region[:MOST_BARS]
    unit = scaled([r.mean for r in shown], words)
    marks = [
        Mark(r.region_de_venta, unit.value(r.mean), _short(unit, r.mean, words)) for r in shown
    ]
    overall = Mark(words.mean, unit.value(figures.mean or "0"), "")
    line = alt.Chart(inline([overall])).mark_rule(stroke=INK, strokeDash=[5, 4], strokeWidth=1.5)
    chart = bars(marks, words.region, unit.caption(words.mean)) + line.encode(x=figures_axis(marks))
    full = [(r.region_de_venta, words.form.amount(r.mean)) for r in shown]
    dashed = "┄ " + words.overall_mean.format(mean=words.form.amount(figures.mean or "0"))
    more = _first_of(len(shown), figures.regions, words)
    return Chart(
        "regions",
        unit.caption(words.mean),
        finish(chart, bars=len(marks)),
        _alt(words.alt_regions, full, words),
        f"{dashed}. {more}".strip(),
    )


def month_charts(figures: Figures, words: Texts) -> list[Chart]:
    """Totals and numbers of sales as lines; a month between without sales is zero."""
    months = list(_without_gaps(figures.by_month))
    unit = scaled([m.total for m in months], words)
    form = words.form
    totals = [Mark(form.month(m.month), unit.value(m.total), form.amount(m.total)) for m in months]
    sales = [Mark(form.month(m.month), m.rows, form.number(m.rows)) for m in months]
    charts = []
    for name, caption, marks, what in (
        ("month-totals", unit.caption(words.monthly_total), totals, words.total),
        ("month-sales", words.monthly_sales, sales, words.sales),
    ):
        falling = sorted(marks, key=lambda mark: mark.value, reverse=True)
        alt_text = _alt(
            words.alt_months,
            [(mark.name, mark.text) for mark in falling],
            words,
            what=what,
            first=marks[0].name,
            last=marks[-1].name,
        )
        spec = finish(_trend(marks, what, words), height=_MONTHS_HEIGHT)
        charts.append(Chart(name, caption, spec, alt_text))
    return charts


def _trend(marks: Sequence[Mark], figure: str, words: Texts) -> Any:
    import altair as alt  # noqa: PLC0415

    base = alt.Chart(inline(marks)).encode(
        x=alt.X(
            "name:O",
            sort=None,
            axis=alt.Axis(
                title=None,
                values=[mark.name for mark in marks[:: _months_apart(len(marks))]],
                labelAngle=0,
                labelOverlap="greedy",
                labelSeparation=8,
            ),
        ),
        y=alt.Y(
            "value:Q",
            scale=alt.Scale(zero=True),
            axis=alt.Axis(
                title=None, format=",.2~f", tickCount=5, domain=False, ticks=False, labelPadding=6
            ),
        ),
        tooltip=[alt.Tooltip("name:N", title=words.month), alt.Tooltip("text:N", title=figure)],
    )
    size = 45 if len(marks) <= _MONTHS_WITH_POINTS else 8
    return (
        base.mark_area(fill=PALE)
        + base.mark_line(stroke=ACCENT, strokeWidth=2.2)
        + base.mark_point(fill=ACCENT, stroke=ACCENT, size=size, opacity=1)
    )


def _months_apart(months: int) -> int:
    """How many months lie between two that are named below the axis: whole years where possible."""
    steps = (1, 2, 3, 6, 12, 24, 60, 120)
    return next((step for step in steps if months <= step * _MOST_MONTHS_NAMED), steps[-1])


def _without_gaps(months: Sequence[MonthTotal]) -> Iterator[MonthTotal]:
    there = {m.month: m for m in months}
    year, month = map(int, months[0].month.split("-"))
    while (name := f"{year:04}-{month:02}") <= months[-1].month:
        yield there.get(name) or MonthTotal(month=name, rows=0, total="0.00", mean="0.000000")
        year, month = (year, month + 1) if month < 12 else (year + 1, 1)


def _short(unit: Scaled, amount: str, words: Texts) -> str:
    return words.form.amount(str(unit.value(amount)))


def _alt(template: str, lines: Sequence[tuple[str, str]], words: Texts, **more: str) -> str:
    """Fill in the first and the last of lines in falling order."""
    (high, high_value), (low, low_value) = lines[0], lines[-1]
    if len(lines) == 1:
        return words.alt_one.format(high=visible(high), high_value=high_value)
    return template.format(
        high=visible(high), high_value=high_value, low=visible(low), low_value=low_value, **more
    )


def _first_of(shown: int, count: int, words: Texts) -> str:
    if shown == count:
        return ""
    return words.first_of.format(shown=words.form.number(shown), count=words.form.number(count))
