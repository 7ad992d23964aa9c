import io
import json

import msgspec

from celes_beam.commands.console import console_for
from celes_beam.commands.summary import RunSummary
from celes_beam.commands.watch_summary import WatchSummary, round_line
from celes_beam.stores.lake.manifest import InputRecord
from tests.unit.commands.test_summary import MANIFEST

INPUTS = (
    InputRecord(path="a.csv", size=1, version="1", rows_read=3, rows_accepted=3),
    InputRecord(path="b.csv", size=1, version="1", rows_read=1, refused="b.csv: not sales"),
)
RUN = RunSummary(msgspec.structs.replace(MANIFEST, inputs=INPUTS), "./[lake]", 1.26, "committed")


def test_sums_are_those_of_all_commits() -> None:
    summary = WatchSummary("./[lake]")
    summary.add(RUN)
    summary.add(RUN)
    summary.rounds = 1200

    content = summary.to_dict()

    assert json.loads(json.dumps(content)) == content
    del content["seconds"]
    assert content == {
        "lake": "./[lake]",
        "rounds": 1200,
        "failed_rounds": 0,
        "commits": 2,
        "inputs": 4,
        "inputs_set_aside": 2,
        "rows_read": 8,
        "rows_accepted": 6,
        "rows_rejected": 2,
        "rejected_by_reason": {"missing": 2},
        "total": "80.00",
        "last_run": RUN.to_dict(),
    }
    assert content["last_run"]["set_aside"] == [{"path": "b.csv", "why": "b.csv: not sales"}]


def test_it_is_printed_for_people() -> None:
    stream = io.StringIO()
    summary = WatchSummary("./[lake]")
    summary.add(RUN)
    summary.rounds = 1200

    summary.print(console_for(stream))

    shown = " ".join(stream.getvalue().split())
    assert "rounds 1,200" in shown
    assert "Lake: ./[lake]" in shown
    assert "lake ls './[lake]'" in shown


def test_before_any_commit_there_is_no_last_run() -> None:
    assert WatchSummary("./lake").to_dict()["last_run"] is None


def test_a_round_is_one_line() -> None:
    assert round_line(RUN) == (
        "2 files (1 set aside), 3 rows accepted, 1 rejected, 1.3 s (run night-1)"
    )
