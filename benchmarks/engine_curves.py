"""``python -m benchmarks.engine_curves FILE``: a comparison of several sizes, into docs/engines.md.

FILE is what ``celes-beam compare --rows 1e6,1e7,5e7 --json FILE`` wrote. The table goes between the
two marks in the page, the curves to docs/figures.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from celes_beam.report.chart import Chart
from celes_beam.report.comparison import Comparison, EngineRun, read_comparison
from celes_beam.report.engine_charts import engine_charts
from celes_beam.report.page import LANGUAGES

DOCS = Path(__file__).parent.parent / "docs"
FIGURES = {"time-by-rows": "engines-time.svg", "memory-by-rows": "engines-memory.svg"}
BEGIN, END = "<!-- curves: python -m benchmarks.engine_curves -->", "<!-- end of curves -->"
_STYLE = Path(__file__).parent.parent / "celes_beam" / "report" / "templates" / "style.css"
_WIDTH = 520


def main(argv: Sequence[str] | None = None) -> None:
    """Write the table and the figures of a comparison."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engine_curves", description=__doc__)
    parser.add_argument("file", help="what celes-beam compare wrote with --json")
    comparison = read_comparison(parser.parse_args(argv).file)
    write(comparison, DOCS)


def write(comparison: Comparison, docs: Path) -> None:
    """Write what a comparison of several sizes found into ``docs/engines.md`` and its figures.

    Raises ``SystemExit`` when it has one size alone, or the page lacks the marks.
    """
    charts = {c.name: c for c in engine_charts(comparison, LANGUAGES["en"])}
    page = docs / "engines.md"
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not charts.keys() >= FIGURES.keys() or not (begin and end):
        raise SystemExit(f"{page} needs {BEGIN} … {END}, and the comparison two sizes or more")
    (docs / "figures").mkdir(exist_ok=True)
    for name, file in FIGURES.items():
        (docs / "figures" / file).write_text(svg(charts[name]), encoding="utf-8")
    page.write_text(f"{before}{BEGIN}\n\n{markdown(comparison)}\n\n{END}{after}", encoding="utf-8")


def markdown(comparison: Comparison) -> str:
    """The medians of a comparison as a table: an engine a line, sizes side by side."""
    sizes = comparison.sizes
    runs = {(run.engine, run.rows): run for run in comparison.runs if run.seconds}
    engines = list(dict.fromkeys(engine for engine, _ in runs))
    first, *more = (f"{rows / 1e6:g} M" for rows in sizes)

    def figures(engine: str, show: Callable[[EngineRun], str]) -> list[str]:
        found = [runs.get((engine, rows)) for rows in sizes]
        return ["failed" if run is None else show(run) for run in found]

    lines = [
        ["", f"work, s: {first}", *more, "start-up, s", f"peak, MB: {first}", *more],
        ["---", *["---:"] * (2 * len(sizes) + 1)],
    ]
    for engine in engines:
        name = next(f"{engine} {run.version}" for run in runs.values() if run.engine == engine)
        work = figures(engine, lambda run: f"{median(run.seconds):.2f}")
        startup = figures(engine, lambda run: f"{median(run.startup_seconds):.1f}")[-1]
        peak = figures(engine, lambda run: f"{median(run.peak_mb):,.0f}")
        lines.append([name, *work, startup, *peak])
    machine = comparison.machine
    about = (
        f"{machine.cores} cores, {machine.memory_gb:.0f} GB, {machine.system}; Python "
        f"{machine.python}; medians of {comparison.rounds} rounds; start-up as of the largest; "
        f"`celes-beam compare {comparison.input}`, {comparison.started_at[:10]}."
    )
    pictures = [f"![{name.replace('-', ' ')}](figures/{file})" for name, file in FIGURES.items()]
    return "\n".join([about, "", *(f"| {' | '.join(line)} |" for line in lines), "", *pictures])


def svg(chart: Chart) -> str:
    """A chart of the report as a picture, in the colours of its light page."""
    import vl_convert  # noqa: PLC0415 - slow to import

    root = _STYLE.read_text(encoding="utf-8").partition("}")[0]
    colours = dict(re.findall(r"(--[\w-]+): (#\w+);", root))

    def plain(part: Any) -> Any:
        if isinstance(part, dict):
            return {key: plain(value) for key, value in part.items()}
        if isinstance(part, list):
            return [plain(value) for value in part]
        found = re.fullmatch(r"var\((--[\w-]+)\)", part) if isinstance(part, str) else None
        return colours[found[1]] if found else part

    spec = plain(chart.spec) | {"width": _WIDTH, "background": colours["--ground"]}
    spec["config"]["font"] = "sans-serif"
    return str(vl_convert.vegalite_to_svg(spec))


if __name__ == "__main__":
    main()
