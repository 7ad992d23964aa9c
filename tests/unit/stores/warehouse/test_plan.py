from __future__ import annotations

import dataclasses
from typing import Any

import msgspec
import pytest

from celes_beam.contract import CATEGORY, REGION
from celes_beam.errors import IntegrityError
from celes_beam.stores.lake.loads import Registration, loaded_runs, rounds, streamed_runs
from celes_beam.stores.lake.manifest import DataFile, Manifest, RejectedFile
from celes_beam.stores.warehouse import plan as plan_module
from celes_beam.stores.warehouse.plan import Loading, plan_loads
from celes_beam.stores.warehouse.schema import sales_fields
from celes_beam.stores.warehouse.shape import shape_of

KEY = "p.d.t"
REGISTERED = Registration(table="p:d.t", id="1", registered_at="")


def file(path: str, **partition: str) -> DataFile:
    return DataFile(
        path=path, staged="", partition=partition, rows=2, bytes=10, crc32c="", total="1.00"
    )


def run(
    run_id: str, kind: str, *paths: str, retired: tuple[str, ...] = (), streamed_to: str = ""
) -> Manifest:
    return Manifest(
        streamed_to=(streamed_to,) if streamed_to else (),
        run_id=run_id,
        kind=kind,  # type: ignore[arg-type]
        started_at="",
        staging="",
        files=tuple(file(p) for p in paths),
        retired=retired,
    )


def loading(
    root: str = "gs://b/lake", in_path: tuple[str, ...] = (REGION,), emulated: bool = False
) -> Loading:
    return Loading(root, "p:d.t", KEY, "1", shape_of(sales_fields(in_path)), emulated)


@pytest.mark.parametrize(
    ("partition", "in_path", "on_google", "emulated"),
    [
        ({}, (), "direct", "direct"),
        ({REGION: "Norte"}, (REGION,), "direct", "direct"),
        ({REGION: "a%b"}, (REGION,), "rewritten", "rewritten"),
        ({REGION: "Norte"}, (), "rewritten", "rewritten"),
        ({}, (REGION,), "rewritten", "rewritten"),
        ({CATEGORY: "Ropa"}, (CATEGORY,), "direct", "rewritten"),
        ({"mes": "2024-05"}, (), "direct", "rewritten"),
        ({REGION: "Norte", "mes": "2024-05"}, (REGION,), "rewritten", "rewritten"),
    ],
)
def test_a_file_is_loaded_where_it_lies_when_that_is_certain(
    partition: dict[str, str], in_path: tuple[str, ...], on_google: str, emulated: str
) -> None:
    one = file("f", **partition)
    assert loading(in_path=in_path).how(one) == on_google
    assert loading(in_path=in_path, emulated=True).how(one) == emulated
    assert loading("./lake", in_path).how(one) == "rewritten"
    assert loading("gs://b/a*b", in_path).how(one) == "rewritten"


def test_a_job_takes_so_many_files_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_module, "FILES_PER_JOB", 2)
    five = run("r", "append", *"abcde")
    chunks = loading(in_path=()).chunks(five, "start", set("abcde"))
    assert [[f.path for f in c.files] for c in chunks] == [["a", "b"], ["c", "d"], ["e"]]
    left = loading(in_path=()).chunks(five, "start", {"c"})
    assert [c.key for c in left] == [chunks[1].key]


def test_keys_are_those_of_one_table_round_run_and_number() -> None:
    one = loading()
    keys = [
        one.key(*parts) for parts in (("start", "r", 0), ("after-x", "r", 0), ("start", "q", 0))
    ]
    assert len({*keys, one.key("start", "r", 1)}) == 4
    assert one.key("start", "r", 0) == loading(emulated=True).key("start", "r", 0)


def test_an_overwrite_begins_a_round_unless_it_came_before_or_is_empty() -> None:
    runs = [run("a", "create", "f"), run("b", "overwrite", "g"), run("c", "overwrite")]
    assert rounds(runs, REGISTERED) == ["start", "after-b"]
    before = Registration(table="", id="", registered_at="", runs_before=("a", "b"))
    assert rounds(runs, before) == ["start"]


def test_an_overwrite_comes_before_what_it_has_missed() -> None:
    runs = [
        run("a", "append", "f"),
        run("late", "append", "l"),
        run("b", "overwrite", "g", retired=("f",)),
    ]
    marked = {
        "start": frozenset({"late"}),
        "after-b": frozenset[str](),
        "rejected": frozenset[str](),
    }
    plan = plan_loads(runs, REGISTERED, marked, loading(in_path=()))
    assert [s.run_id for s in plan.steps] == ["b", "late"]
    assert [c.truncates for s in plan.steps for c in s.chunks] == [True, False]
    # The run whose mark is there has ended its jobs; that of the other may just begin.
    assert plan.before_truncation == (loading().key("start", "a", 0),)


def test_a_compaction_is_loaded_when_all_that_it_merged_was() -> None:
    runs = [
        run("a", "append", "f"),
        run("b", "append", "g"),
        run("c", "compact", "h", retired=("f", "g")),
        run("d", "compact", "i", retired=("h",)),
    ]
    assert loaded_runs(runs, REGISTERED, {"a", "b"}) == {"a", "b", "c", "d"}
    assert loaded_runs(runs, REGISTERED, set()) == frozenset()
    before = Registration(table="", id="", registered_at="", runs_before=("a", "b", "c"))
    assert loaded_runs(runs, before, {"a", "b"}) == {"a", "b"}


def planned(runs: list[Manifest], table_key: str = KEY, **marked: frozenset[str]) -> Any:
    marks = {name: frozenset[str]() for name in (*rounds(runs, REGISTERED), "rejected")}
    marks |= {name.replace("_", "-"): runs for name, runs in marked.items()}
    how = dataclasses.replace(loading(in_path=()), table_key=table_key)
    return plan_loads(runs, REGISTERED, marks, how)


def test_what_was_streamed_into_a_table_is_loaded_into_others_alone() -> None:
    rejected = RejectedFile(path="_rejected/s/r", staged="", rows=1, bytes=1, crc32c="")
    streamed = msgspec.structs.replace(
        run("s", "append", "f", streamed_to=KEY), rejected_files=(rejected,)
    )
    runs = [streamed, run("b", "append", "g")]
    here, elsewhere = planned(runs), planned(runs, table_key="p.d.other")
    assert [(s.run_id, s.round_) for s in here.steps] == [("b", "start")]
    assert (here.rows_there, here.runs_there, here.marks_at_end) == (2, 1, False)
    assert [(s.run_id, s.round_) for s in elsewhere.steps] == [
        ("s", "start"),
        ("b", "start"),
        ("s", "rejected"),
    ]


def test_an_overwrite_replaces_what_was_streamed_before_it_was_loaded() -> None:
    runs = [
        run("missed", "append", "f", streamed_to=KEY),
        run("b", "overwrite", "g"),
        run("s", "append", "h", streamed_to=KEY),
    ]
    waiting = planned(runs)
    assert [s.run_id for s in waiting.steps] == ["b", "missed", "s"]
    assert (waiting.truncates, waiting.marks_at_end) == (True, True)
    # What is committed once the overwrite is loaded was streamed after it.
    loaded = planned(runs, after_b=frozenset({"b"}))
    assert [s.run_id for s in loaded.steps] == ["missed"]
    assert (loaded.truncates, loaded.marks_at_end) == (False, False)


def test_no_job_of_what_was_streamed_is_looked_for() -> None:
    runs = [
        run("s", "append", "f", streamed_to=KEY),
        run("a", "append", "e"),
        run("b", "overwrite", "g"),
    ]
    assert planned(runs).before_truncation == (loading().key("start", "a", 0),)


def test_a_compaction_of_what_was_streamed_is_there_and_a_mixed_one_is_told() -> None:
    runs = [
        run("s", "append", "f", streamed_to=KEY),
        run("t", "append", "g", streamed_to=KEY),
        run("c", "compact", "h", retired=("f", "g")),
        run("d", "compact", "i", retired=("h",)),
    ]
    late = Registration(table="", id="", registered_at="", runs_before=("s", "t", "c", "d"))
    for registration in (REGISTERED, late):
        streamed = streamed_runs(runs, registration, KEY)
        assert loaded_runs(runs, registration, set(), streamed) == {"s", "t", "c", "d"}
        other = streamed_runs(runs, registration, "p.d.other")
        assert loaded_runs(runs, registration, set(), other) == frozenset()
    mixed = [runs[0], run("t", "append", "g"), runs[2]]
    for registration in (REGISTERED, late):
        with pytest.raises(IntegrityError, match="c merged files of s"):
            loaded_runs(mixed, registration, set(), {"s"})
