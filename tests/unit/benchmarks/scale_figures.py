"""Measurements in round figures, for tests of what is made of them."""

from __future__ import annotations

from benchmarks.scale_measured import (
    AGGREGATE,
    CSV,
    FLUSH,
    GENERATE,
    MESSAGES,
    NATIVE,
    Graph,
    Measured,
    Requests,
    Run,
    Stages,
    Stream,
)


def stages(way: str, ns: float, *, read: int = 0, written: int = 0, appended: int = 0) -> Stages:
    """A thousand rows of ``ns`` each on one thread, half of that on two, and 1 ms in any case."""
    one, few = ns * 1e-6 + 1e-3, ns * 1e-7 + 1e-3
    return Stages(
        way,
        1_000,
        read * 1_000,
        written * 1_000,
        {"all of it": ns * 1e-6},
        {1: one, 2: one / 2},
        100,
        {1: few, 2: few / 2},
        {1: one, 2: one},
        {1: few, 2: few},
        appended * 1_000,
    )


def run(way: str, rows: int, seconds: float, mb: float = 300.0, *, slots: int = 2) -> Run:
    """One round."""
    return Run(
        way,
        rows,
        slots,
        (seconds,),
        (seconds + 1,),
        (2 * seconds + 1,),
        mb,
        12,
        rows * 7,
        "1.00",
        True,
    )


MEASURED = Measured(
    about="2 cores",
    cores=2,
    stages={
        GENERATE: stages(GENERATE, 100, written=7),
        CSV: stages(CSV, 250, read=40, written=7),
        AGGREGATE: stages(AGGREGATE, 40, read=7),
        MESSAGES: stages(MESSAGES, 6_000, read=150, written=40, appended=70),
        NATIVE: stages(NATIVE, 14_000, read=170),
        FLUSH: stages(FLUSH, 1_000, read=40, written=7),
    },
    runs=(
        run(GENERATE, 1_000, 0.1),
        run(GENERATE, 10_000_000, 0.6),
        run(GENERATE, 200_000_000, 11.0),
        run(AGGREGATE, 1_000, 0.2),
        run(AGGREGATE, 10_000_000, 0.4),
        run(AGGREGATE, 200_000_000, 5.0),
    ),
    flink=(
        run(GENERATE, 1_000, 5.0, slots=1),
        run(GENERATE, 50_000_000, 10.0, slots=1),
        run(GENERATE, 1_000, 6.0, slots=4),
        run(GENERATE, 50_000_000, 8.0, slots=4),
    ),
    requests=(
        Requests(10, 10, 70, {"upload": 15, "rewrite": 10, "delete": 11, "list": 20}, 5_000, 1, 1),
        Requests(
            10, 110, 70, {"upload": 115, "rewrite": 110, "delete": 111, "list": 20}, 55_000, 1, 1
        ),
    ),
    graph=Graph(20_000, 4.0, 80.0),
    stream=Stream(
        100_000,
        {
            "at least once": 5.0,
            "exactly once, and a lake": 8.0,
            "pull and ack alone": 2.0,
            "append alone": 1.0,
        },
        5_000,
        {"at least once": 1.0, "exactly once, and a lake": 1.5},
    ),
    bytes_of_an_id=200.0,
)
