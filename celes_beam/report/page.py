"""The page of a report: one HTML file with its style, its data, and Vega to draw the charts.

Its policy (CSP) lets nothing be fetched, and no script run but those that are written here.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.metadata import version
from importlib.resources import files
from itertools import groupby
from statistics import median
from typing import Any

import msgspec

from celes_beam.errors import MissingProgramError
from celes_beam.report.comparison import Comparison, EngineRun
from celes_beam.report.content import Content, judge
from celes_beam.report.english import ENGLISH
from celes_beam.report.phrases import (
    described,
    lead,
    method_facts,
    origin,
    verdict_text,
)
from celes_beam.report.reader_format import visible
from celes_beam.report.spanish import SPANISH
from celes_beam.report.texts import Texts

LANGUAGES = {words.language: words for words in (SPANISH, ENGLISH)}
"""The languages of reports, by their codes."""

_TEMPLATES = "templates"
_NEEDED = ("altair", "jinja2", "vl_convert")
_MOST_DIFFERENCES = 200
_VEGA_SNIPPET = "window.vegaEmbed = vegaEmbed;"


def check_installed() -> None:
    """Raise ``MissingProgramError`` unless what draws reports is installed."""
    for name in _NEEDED:
        try:
            import_module(name)
        except ImportError:
            raise MissingProgramError(
                f"a report needs the package {name}: pip install 'celes-beam[report]'"
            ) from None


def render(content: Content, language: str) -> str:
    """Make the page, in a language of ``LANGUAGES``. Raises ``MissingProgramError``."""
    check_installed()
    from jinja2.utils import htmlsafe_json_dumps  # noqa: PLC0415 - an extra
    from markupsafe import Markup  # noqa: PLC0415

    from celes_beam.report.engine_charts import engine_charts  # noqa: PLC0415
    from celes_beam.report.sales_charts import sales_charts  # noqa: PLC0415

    words = LANGUAGES[language]
    compared = content.comparison
    charts = sales_charts(content.sales, words)
    charts += engine_charts(compared, words) if compared else []
    style, draw, vega = _part("style.css"), _part("draw.js"), _vega() if charts else ""
    embedded = {
        "charts": {chart.name: chart.spec for chart in charts},
        "format": {
            "decimal": words.form.decimal,
            "thousands": words.form.thousands,
            "grouping": [3],
            "currency": ["", ""],
        },
        "notDrawn": words.not_drawn,
    }
    page: str = _template(words).render(
        t=words,
        form=words.form,
        version=version("celes-beam"),
        policy=_policy(style, [vega, draw]),
        # Our own files and Vega's, which hold no end of a script or style.
        style=Markup(style),
        vega=Markup(vega),
        draw_script=Markup(draw),
        figures_json=htmlsafe_json_dumps(msgspec.to_builtins(content), ensure_ascii=False),
        charts_json=htmlsafe_json_dumps(embedded, ensure_ascii=False),
        charts={chart.name: chart for chart in charts},
        made_at=content.made_at,
        sales=content.sales,
        lake=content.lake,
        lead=lead(content.sales, words),
        method=method_facts(content, words),
        comparison=compared,
        **(_compared(compared, content, words) if compared else {}),
    )
    return page


def _compared(compared: Comparison, content: Content, words: Texts) -> dict[str, Any]:
    verdict = judge(compared, content.sales)
    by_size = sorted(compared.runs, key=lambda run: -run.rows)
    form = words.form
    return {
        "verdict": {
            "tone": verdict.tone,
            "text": verdict_text(verdict, words),
            "warning": ""
            if verdict.of_this_data
            else words.other_data.format(
                rows=form.number(content.sales.rows), total=form.amount(content.sales.total)
            ),
        },
        "engine_runs": [
            (size, list(runs)) for size, runs in groupby(by_size, key=lambda run: run.rows)
        ],
        "most_differences": _MOST_DIFFERENCES,
        "many_sizes": len(compared.sizes) > 1,
        "not_run": [run for run in compared.runs if _said(run)],
        "megabytes": lambda mb: form.size(mb * 1e6),
    }


def _said(run: EngineRun) -> bool:
    return run.state in ("skipped", "failed")


def _template(words: Texts) -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415

    page = Environment(
        loader=PackageLoader("celes_beam.report", _TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Callable[..., object]] = {
        "visible": visible,
        "median": median,
        "origin": lambda run: origin(run, words),
        "described": lambda example: described(example, words),
    }
    page.filters |= filters
    return page.get_template("report.html.jinja")


def _part(name: str) -> str:
    return files("celes_beam.report").joinpath(_TEMPLATES, name).read_text("utf-8").strip()


@cache
def _vega() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script; bundling takes seconds, so once a process."""
    import vl_convert  # noqa: PLC0415

    script: str = vl_convert.javascript_bundle(_VEGA_SNIPPET)
    return script.replace("\r\n", "\n").replace("</script", "<\\/script")


def _policy(style: str, scripts: list[str]) -> str:
    allowed = " ".join(_hash(script) for script in scripts if script)
    return (
        f"default-src 'none'; img-src data:; style-src {_hash(style)}; "
        f"script-src {allowed}; base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
