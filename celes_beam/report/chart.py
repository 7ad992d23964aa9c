"""What all charts of a report share: how they look, and the parts they are made of.

Colours are CSS variables of the page, which the SVG of a chart takes over: so a chart follows the
page from light to dark, and onto paper, without being drawn again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

from celes_beam.report.texts import Texts

INK = "var(--ink)"
SOFT_INK = "var(--soft-ink)"
ACCENT = "var(--accent)"
PALE = "var(--pale)"
LINE = "var(--line)"
MOST_BARS = 20
"""A bar chart shows this many bars; the table beside it has all."""

_FONT = "system-ui, sans-serif"
_FONT_SIZE = 13
_STEP = 30
_ROOM_FOR_FIGURES = 1.38
"""The axis of a bar chart is this much longer than its longest bar, for the figure after it."""
_UNITS = (
    (Decimal(10**8), Decimal(10**6), "millions"),
    (Decimal(10**5), Decimal(1000), "thousands"),
)
"""From this amount on, figures of a chart are divided by that, and called so in ``Texts``."""

_LABEL_WIDTH: Any = {"expr": "windowSize()[0] < 640 ? 112 : 260"}
"""Longer names end in an ellipsis: on a phone they would leave no room for bars."""


@dataclass(frozen=True)
class Chart:
    """A chart: a Vega-Lite specification, and what it shows in words, for those who do not see it.

    ``caption`` stands above it, ``note`` below.
    """

    name: str
    caption: str
    spec: Mapping[str, Any]
    alt: str
    note: str = ""


@dataclass(frozen=True)
class Mark:
    """One bar or point: its name, its length or height, and its figure as it is written."""

    name: str
    value: float
    text: str


@dataclass(frozen=True)
class Scaled:
    """Amounts in a unit that leaves short figures: 1, thousands or millions."""

    divisor: Decimal
    unit: str

    def value(self, amount: str) -> float:
        """An amount in this unit, for drawing."""
        return float(Decimal(amount) / self.divisor)

    def caption(self, text: str) -> str:
        """A caption that names the unit, unless it is 1."""
        return f"{text} ({self.unit})" if self.unit else text


def scaled(amounts: Sequence[str], words: Texts) -> Scaled:
    """Choose a unit for amounts by the largest of them."""
    largest = max((Decimal(a) for a in amounts), default=Decimal(0))
    for least, divisor, name in _UNITS:
        if largest >= least:
            return Scaled(divisor, getattr(words, name))
    return Scaled(Decimal(1), "")


def bars(marks: Sequence[Mark], label: str, figure: str) -> Any:
    """Horizontal bars with their figures after them.

    ``label`` and ``figure`` say in a tooltip what a name and a figure are.
    """
    import altair as alt  # noqa: PLC0415 - slow to import, and an extra

    base = alt.Chart(inline(marks)).encode(
        y=names_axis(marks),
        tooltip=[alt.Tooltip("name:N", title=label), alt.Tooltip("text:N", title=figure)],
    )
    return base.mark_bar(fill=ACCENT, cornerRadiusEnd=3).encode(
        x=figures_axis(marks)
    ) + figures_after(marks)


def figures_after(marks: Sequence[Mark]) -> Any:
    """The figures of bars, each after the end of its bar."""
    import altair as alt  # noqa: PLC0415

    text = alt.Chart(inline(marks)).mark_text(align="left", dx=6, fill=INK, fontSize=_FONT_SIZE)
    return text.encode(y=names_axis(marks), x=figures_axis(marks), text="text:N")


def names_axis(marks: Sequence[Mark]) -> Any:
    """A vertical axis of names, in the order given."""
    import altair as alt  # noqa: PLC0415

    return alt.Y(
        "name:N",
        sort=[mark.name for mark in marks],
        axis=alt.Axis(
            title=None, labelLimit=_LABEL_WIDTH, ticks=False, domain=False, labelPadding=8
        ),
        scale=alt.Scale(paddingInner=0.3, paddingOuter=0.1),
    )


def figures_axis(marks: Sequence[Mark], **more: Any) -> Any:
    """A bare axis from zero with room for the figure after the longest bar."""
    import altair as alt  # noqa: PLC0415

    longest = max((mark.value for mark in marks), default=0)
    scale = alt.Scale(domain=[0, longest * _ROOM_FOR_FIGURES or 1], nice=False)
    return alt.X("value:Q", axis=None, scale=scale, **more)


def inline(marks: Sequence[Mark]) -> Any:
    """Data of a chart that stand in its specification."""
    import altair as alt  # noqa: PLC0415

    return alt.InlineData(values=[asdict(mark) for mark in marks])


def finish(chart: Any, *, height: int | None = None) -> dict[str, Any]:
    """A specification as wide as the page; ``height`` in pixels, or by the number of bars."""
    import altair as alt  # noqa: PLC0415

    whole = chart.properties(width="container", height=height or alt.Step(_STEP))
    spec: dict[str, Any] = whole.to_dict()
    # Altair's own theme would set a size and a white ground.
    spec["config"] = _CONFIG
    spec["background"] = None
    spec["autosize"] = {"type": "fit", "contains": "padding"} if height else {"type": "fit-x"}
    spec["padding"] = 2
    return spec


_CONFIG: Mapping[str, Any] = {
    "aria": False,
    "font": _FONT,
    "view": {"stroke": None},
    "axis": {
        "labelColor": SOFT_INK,
        "titleColor": SOFT_INK,
        "gridColor": LINE,
        "domainColor": LINE,
        "tickColor": LINE,
        "labelFontSize": _FONT_SIZE,
        "titleFontSize": _FONT_SIZE,
        "titleFontWeight": "normal",
    },
    "legend": {
        "labelColor": INK,
        "labelFontSize": _FONT_SIZE,
        "title": None,
        "symbolSize": 90,
        "labelLimit": 200,
    },
}
