from __future__ import annotations

from datetime import UTC, datetime

import pytest

from celes_beam.commands.batch_options import BatchOptions, batch_options
from celes_beam.commands.flags import (
    add_batch_flags,
    add_format_flags,
    add_run_flags,
    add_sales_flags,
    add_warehouse_flags,
    flag_parser,
)
from celes_beam.commands.watch_options import add_watch_flags
from celes_beam.errors import ConfigError
from celes_beam.stores.lake.commit import check_run_id

AT = datetime(2024, 5, 3, 1, 2, 3, 45, tzinfo=UTC)


def options(*flags: str) -> BatchOptions:
    adders = (add_batch_flags, add_watch_flags, add_warehouse_flags)
    adders += (add_sales_flags, add_format_flags, add_run_flags)
    return batch_options(flag_parser("t", "t", *adders).parse_args(list(flags)))


def test_without_the_flag_there_is_no_watch_and_bad_files_fail() -> None:
    asked = options("-i", "x")

    assert (asked.watch, asked.sets_aside, asked.if_exists) == (None, False, "error")


def test_a_watch_appends_and_sets_bad_files_aside() -> None:
    asked = options("-i", "x", "--watch", "0.5", "--watch_rounds", "3", "--idle_rounds", "2")

    assert (asked.sets_aside, asked.if_exists) == (True, "append")
    assert asked.watch is not None
    assert (asked.watch.seconds, asked.watch.rounds, asked.watch.idle_rounds) == (0.5, 3, 2)
    assert not options("-i", "x", "--watch", "1", "--bad_files", "fail").sets_aside
    assert options("-i", "x", "--bad_files", "set_aside").sets_aside


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--watch", "60"], "--watch is for input files"),
        (["-i", "x", "--watch", "0"], "--watch 0: expected seconds"),
        (["-i", "x", "--watch", "nan"], "--watch nan: expected seconds"),
        (["-i", "x", "--watch", "often"], "--watch often: expected seconds"),
        (["-i", "x", "--watch", "60", "-f"], "replaces it"),
        (["-i", "x", "--watch", "60", "--reprocess"], "would read every file again"),
        (["-i", "x", "--watch", "60", "--run_id", "n" * 77], "at most 76 characters"),
        (["-i", "x", "--watch_rounds", "2"], "--watch_rounds is for --watch"),
        (["-i", "x", "--idle_rounds", "2"], "--idle_rounds is for --watch"),
        (["-i", "x", "--watch", "60", "--idle_rounds", "0"], "expected 1 or more"),
        (["--bad_files", "fail"], "--bad_files is for input files"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(flags: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        options(*flags)


@pytest.mark.parametrize("base", [[], ["--run_id", "night"], ["--run_id", "n" * 76]])
def test_each_round_has_a_run_id_of_its_own(base: list[str]) -> None:
    watch = options("-i", "x", "--watch", "60", *base).watch
    assert watch is not None

    one, two = watch.run_id(AT), watch.run_id(AT.replace(microsecond=46))

    check_run_id(one)
    assert one < two
    if base:
        assert one == f"{base[1]}-20240503T010203000045Z"
    else:
        assert one == f"20240503T010203000045Z-{watch.base}"
