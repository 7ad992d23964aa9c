import io
import json
from pathlib import Path
from typing import get_args

import pytest

from celes_beam.commands.console import console_for
from celes_beam.commands.stream_status import StreamMeter
from celes_beam.commands.stream_summary import EndedBy, StreamSummary, ended_by
from celes_beam.stores.messages.pulling import Ended
from tests.unit.commands.test_stream_status import DELIVERED

SUBSCRIPTION = "projects/p/subscriptions/ventas"


def summary(
    *,
    batches: int = 1,
    table: str | None = "p:sales.ventas",
    lake: str | None = "./[lake]",
    topic: str | None = "projects/p/topics/rechazadas",
    why: EndedBy = "idle_timeout",
) -> StreamSummary:
    meter = StreamMeter()
    for _ in range(batches):
        meter.add(DELIVERED)
        meter.committed()
    return StreamSummary.of(
        meter.read(),
        run_id="stream-1",
        subscription=SUBSCRIPTION,
        table=table,
        lake=lake,
        dead_letter_topic=topic,
        seconds=2.0,
        ended_by=why,
    )


def printed(of: StreamSummary) -> str:
    stream = io.StringIO()
    of.print(console_for(stream))
    return stream.getvalue()


def test_json_has_every_figure(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    summary().write_json(str(path))

    told = json.loads(path.read_text(encoding="utf-8"))

    assert told.pop("latency_p50") == pytest.approx(0.25, rel=0.07)
    assert told.pop("latency_p99") == pytest.approx(0.25, rel=0.07)
    assert told == {
        "run_id": "stream-1",
        "subscription": SUBSCRIPTION,
        "table": "p:sales.ventas",
        "lake": "./[lake]",
        "dead_letter_topic": "projects/p/topics/rechazadas",
        "ended_by": "idle_timeout",
        "messages": 10,
        "duplicates": 2,
        "rows_read": 9,
        "rows_accepted": 6,
        "rows_rejected": 3,
        "rejected_by_reason": {"missing": 2, "refused": 1},
        "rows_written": 6,
        "refused": 1,
        "rows_with_unknown_fields": 4,
        "dead_letters": 3,
        "commits": 1,
        "live_table": None,
        "live_sums": 0,
        "live_rows": 0,
        "live_rows_late": 0,
        "seconds": 2.0,
        "messages_per_second": 5.0,
        "latency_mean": 0.25,
    }


def test_people_see_the_figures_and_where_the_rows_are() -> None:
    text = printed(summary())
    lines = [line.split() for line in text.splitlines()]

    assert ["messages", "10"] in lines
    assert ["rejected", "3"] in lines
    assert ["commits", "1"] in lines
    assert ["latency,", "mean", "0.25", "s"] in lines
    assert "│ missing │    2 │" in text
    assert "It ended because no message came any more (--idle_timeout)." in text
    assert "Lake: ./[lake]  (run stream-1)" in text
    assert "lake compact './[lake]'" in text
    assert (
        "Rejected rows are in p:sales.ventas_rechazadas and ./[lake]/_rejected/ and "
        "projects/p/topics/rechazadas" in text
    )


def test_a_stream_of_nothing_has_no_latency_and_no_rejected_rows() -> None:
    nothing = summary(batches=0, lake=None, topic=None, why="signal")
    text = printed(nothing)

    assert nothing.to_dict()["latency_p99"] is None
    assert "It ended because it was told to stop." in text
    for absent in ("latency", "Lake", "Rejected", "dead letters", "commits", "Next"):
        assert absent not in text


@pytest.mark.parametrize("why", get_args(EndedBy))
def test_every_end_has_its_words(why: EndedBy) -> None:
    assert "It ended because " in printed(summary(why=why))


def test_every_end_of_pulling_is_one_of_a_stream() -> None:
    ends = {ended_by(ended) for ended in Ended}
    assert ends == set(get_args(EndedBy))
    assert ended_by(Ended.STOP) == ended_by(None) == "signal"
