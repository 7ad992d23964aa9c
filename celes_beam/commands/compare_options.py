"""What ``celes-beam compare`` is asked to do, resolved from its flags."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from celes_beam.commands.aggregate_options import MOST_TOP
from celes_beam.commands.console import check_json_target
from celes_beam.commands.flag_values import one_header_each, whole_number
from celes_beam.compare.attempt import Question
from celes_beam.compare.catalog import ENGINES, Engine, engines_named
from celes_beam.contract import AMOUNT
from celes_beam.errors import ConfigError
from celes_beam.local.processes import process_library
from celes_beam.report.page import check_installed
from celes_beam.stores.warehouse.table_name import parse_table_name

_THOUSANDS = 3


@dataclass(frozen=True)
class CompareOptions:
    """Everything a comparison needs to know.

    Either ``input`` is there or ``sizes`` are, rows of lakes to generate, the smallest first.
    """

    input: str | None
    sizes: tuple[int, ...]
    keep: str | None
    headers: tuple[tuple[str, str], ...]
    engines: tuple[Engine, ...]
    engine_flags: Mapping[str, Sequence[str]]
    table: str | None
    rounds: int
    top: int
    timeout: float
    json: str | None
    report: str | None
    language: str
    progress: str

    @property
    def named_input(self) -> str:
        """What is compared on: the input, or the flag that had it generated, in any language."""
        return self.input if self.input is not None else rows_flag(*self.sizes)

    def question(self, root: str) -> Question:
        """What engines are asked about a lake."""
        top = ("--sort_by", AMOUNT, "--descending", "--top", str(self.top)) if self.top else ()
        columns = ",".join(f"{column}={header}" for column, header in self.headers)
        return Question(
            root=root,
            table=self.table,
            flags=top,
            input_flags=("--columns", columns) if columns else (),
            own_flags=self.engine_flags,
            timeout=self.timeout,
        )


def rows_flag(*sizes: int) -> str:
    """The flag that has lakes of these sizes generated, as one types it: ``--rows 1e6,25e5``."""
    return f"--rows {','.join(map(_typed, sizes))}"


def _typed(size: int) -> str:
    digits = str(size).rstrip("0")
    zeros = len(str(size)) - len(digits)
    return f"{digits}e{zeros}" if zeros >= _THOUSANDS else str(size)


def compare_options(flags: argparse.Namespace) -> CompareOptions:
    """Resolve the flags of ``celes-beam compare``.

    Raises ``ConfigError`` naming the flag, and ``MissingProgramError`` when nothing could be
    measured, or the report not be written.
    """
    names = _names(flags)
    if (flags.top or 0) > MOST_TOP:
        raise ConfigError(f"--top {flags.top:,}: expected at most {MOST_TOP:,}")
    if flags.keep is not None and flags.rows is None:
        raise ConfigError("--keep is for lakes that --rows generates: leave it out")
    local = flags.input if flags.input and "://" not in flags.input else None
    for flag, path in (("--json", flags.json), ("--report", flags.report)):
        check_json_target(path, local, flag=flag)
    process_library()
    if flags.report is not None:
        check_installed()
    return CompareOptions(
        input=flags.input,
        sizes=() if flags.rows is None else _sizes(flags.rows),
        keep=flags.keep,
        headers=one_header_each(flags.columns or ()),
        engines=engines_named(names),
        engine_flags=_engine_flags(flags.engine_flags, names),
        table=flags.bigquery_table,
        rounds=flags.repeat,
        top=flags.top or 0,
        timeout=flags.timeout,
        json=flags.json,
        report=flags.report,
        language=flags.lang,
        progress=flags.progress,
    )


def _names(flags: argparse.Namespace) -> tuple[str, ...]:
    """The engines asked for; by default all, if they can be."""
    if flags.bigquery_table is not None:
        parse_table_name(flags.bigquery_table)
        if flags.rows is not None:
            raise ConfigError("--bigquery_table holds no generated lake: give --input, not --rows")
    if flags.engines is None:
        of_table = flags.bigquery_table is not None
        return tuple(name for name, engine in ENGINES.items() if of_table or not engine.of_table)
    names = tuple(name.strip() for name in flags.engines.split(",") if name.strip())
    if not names:
        raise ConfigError(f"--engines {flags.engines!r}: expected some of {', '.join(ENGINES)}")
    asks_table = any(ENGINES[name].of_table for name in names if name in ENGINES)
    if asks_table and flags.bigquery_table is None:
        raise ConfigError(
            "--engines bigquery: say which table the lake was loaded into, with --bigquery_table "
            "PROJECT:DATASET.TABLE"
        )
    if flags.bigquery_table is not None and not asks_table:
        raise ConfigError("--bigquery_table: no engine asks it; add bigquery to --engines")
    return names


def _sizes(text: str) -> tuple[int, ...]:
    read = whole_number("--rows")
    sizes = sorted({read(part.strip()) for part in text.split(",") if part.strip()})
    if not sizes or sizes[0] < 1:
        raise ConfigError(f"--rows {text}: expected numbers of rows, such as 1e6,1e7")
    return tuple(sizes)


def _engine_flags(texts: Sequence[str], names: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for text in texts:
        name, equals, flags = text.partition("=")
        if not equals or name not in names:
            raise ConfigError(
                f"--engine_flags {text}: expected NAME=FLAGS, with NAME one of {', '.join(names)}"
            )
        try:
            found.setdefault(name, []).extend(shlex.split(flags))
        except ValueError as error:
            raise ConfigError(f"--engine_flags {text}: {error}") from error
    return found
