"""Flags of live windows: what they mean, and what is refused."""

from __future__ import annotations

import pytest

from celes_beam.commands.live_options import duration
from celes_beam.commands.pipeline_parsers import streaming_parser
from celes_beam.commands.stream_options import StreamOptions, stream_options
from celes_beam.errors import ConfigError

TABLE = "my-project:sales.ventas"


def options(*flags: str) -> StreamOptions:
    given = ["--subscription", "projects/my-project/subscriptions/sub", *flags]
    return stream_options(streaming_parser().parse_args(given))


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("1m", 60), ("1.5h", 5400), ("2d", 172_800), ("90", 90)]
)
def test_durations(text: str, seconds: float) -> None:
    assert duration("--x", 1, 1e6)(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "-1m", "1w", "1m30s", "nan", "0.5s", "3d"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ConfigError, match="expected a duration from 1s to 2d"):
        duration("--x", 1, 2 * 86_400)(text)


def test_the_table_is_beside_that_of_the_sales() -> None:
    live = options("--bigquery_table", TABLE, "--live_windows", "1m").live

    assert live is not None
    assert str(live.table) == "my-project:sales.ventas_en_vivo"
    assert (live.seconds, live.lateness_seconds) == (60, 3600.0)


def test_everything_can_be_said() -> None:
    flags = ["--bigquery_table", TABLE, "--live_windows", "30s", "--live_lateness", "0"]
    live = options(*flags, "--live_table", "por-medio-minuto", "--run_id", "night").live

    assert live is not None
    assert live.table.table == "por-medio-minuto"
    assert (live.seconds, live.lateness_seconds) == (30, 0.0)
    # Another run of that name counts for itself.
    again = options(*flags, "--run_id", "night").live
    assert again is not None
    assert live.series.startswith("night-")
    assert live.series != again.series


def test_there_are_none_unless_asked_for() -> None:
    assert options("--output", "lake").live is None


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--output", "lake", "--live_windows", "1m"], "give --bigquery_table"),
        (["--output", "lake", "--live_lateness", "1m"], "--live_lateness is for --live_windows"),
        (["--output", "lake", "--live_table", "x"], "--live_table is for --live_windows"),
        (["--bigquery_table", TABLE, "--live_windows", "1.5s"], "expected whole seconds"),
        (["--bigquery_table", TABLE, "--live_windows", "soon"], "expected a duration"),
        (
            ["--bigquery_table", TABLE, "--live_windows", "1m", "--live_table", "a.b"],
            "expected a name in the dataset",
        ),
        (
            ["--bigquery_table", TABLE, "--live_windows", "1m", "--live_table", "ventas"],
            "name another one",
        ),
        *(
            (
                ["--bigquery_table", TABLE, "--live_windows", "1m", "--live_table", view],
                f"--live_table {view} is what a view is called",
            )
            for view in ("ventas_por_ventana", "ventas_por_dia")
        ),
    ],
)
def test_what_is_refused(flags: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        options(*flags)
