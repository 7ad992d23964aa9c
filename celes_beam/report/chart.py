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
_END_OF_AXIS = 26
"""Pixels right of a horizontal axis: its last label is centred on the last point."""
_DIGIT_WIDTH = 7.6
"""Pixels of a character of a figure; those of the widest of common fonts."""
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
    """Horizontal bars, and their figures in a column at the right.

    ``label`` and ``figure`` say in a tooltip what a name and a figure are.
    """
    import altair as alt  # noqa: PLC0415 - slow to import, and an extra

    base = alt.Chart(inline(marks)).encode(
        y=names_axis(marks),
        tooltip=[alt.Tooltip("name:N", title=label), alt.Tooltip("text:N", title=figure)],
    )
    return base.mark_bar(fill=ACCENT, cornerRadiusEnd=3).encode(
        x=figures_axis(marks)
    ) + figures_column(marks)


def figures_column(marks: Sequence[Mark]) -> Any:
    """The figures of bars, in a column at the right edge, where no bar reaches."""
    import altair as alt  # noqa: PLC0415

    text = alt.Chart(inline(marks)).mark_text(align="right", fill=INK, fontSize=_FONT_SIZE)
    return text.encode(y=names_axis(marks), x=alt.value("width"), text="text:N")


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
    """A bare axis from zero that leaves room for the column of figures."""
    import altair as alt  # noqa: PLC0415

    longest = max((mark.value for mark in marks), default=0)
    room = 12 + round(_DIGIT_WIDTH * max((len(mark.text) for mark in marks), default=0))
    scale = alt.Scale(
        domain=[0, longest or 1], nice=False, rangeMin=0, rangeMax=alt.expr(f"width - {room}")
    )
    return alt.X("value:Q", axis=None, scale=scale, **more)


def inline(marks: Sequence[Mark]) -> Any:
    """Data of a chart that stand in its specification."""
    import altair as alt  # noqa: PLC0415

    return alt.InlineData(values=[asdict(mark) for mark in marks])


def finish(chart: Any, *, bars: int = 0, height: int = 0) -> dict[str, Any]:
    """A specification as wide as the page, and as high as its ``bars`` or ``height`` pixels."""
    # A height by steps, which Vega-Lite has, makes it warn in the reader's console.
    spec: dict[str, Any] = chart.properties(
        width="container", height=height or _STEP * bars
    ).to_dict()
    # Altair's own theme would set a size and a white ground.
    spec["config"] = _CONFIG
    spec["background"] = None
    spec["autosize"] = {"type": "fit" if height else "fit-x", "contains": "padding"}
    spec["padding"] = {"left": 2, "top": 2, "bottom": 2, "right": _END_OF_AXIS if height else 2}
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
