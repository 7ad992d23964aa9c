from __future__ import annotations

from pathlib import Path

import pytest

from celes_beam.errors import StorageError, UsageError
from celes_beam.stores.lake.measure import measure_file
from celes_beam.stores.upload.plan import (
    Plan,
    Present,
    check_prefix,
    make_plan,
    object_names,
)
from celes_beam.stores.upload.sources import SourceFile, Sources


@pytest.fixture
def files(tmp_path: Path) -> dict[str, SourceFile]:
    found = {}
    for name in ("new", "same", "other", "longer"):
        path = tmp_path / f"{name}.parquet"
        path.write_bytes(name.encode() * 100)
        found[name] = SourceFile(str(path), path.name, path.stat().st_size, 0)
    return found


@pytest.fixture
def present(files: dict[str, SourceFile]) -> dict[str, Present]:
    crc32c = measure_file(Path(files["same"].path))[1]
    return {
        "same": Present(files["same"].size, crc32c, 11),
        "other": Present(files["other"].size, crc32c, 12),
        "longer": Present(files["longer"].size - 1, crc32c, 13),
        "elsewhere.parquet": Present(1, "", 14),
        "notes.txt": Present(1, "", 15),
    }


def shown(plan: Plan) -> tuple[dict[str, int], list[str], tuple[str, ...]]:
    sent = {t.name: t.generation for t in plan.send}
    return sent, [t.name for t in plan.same], plan.others


def test_what_is_missing_or_differs_is_sent_at_the_generation_that_was_seen(
    files: dict[str, SourceFile], present: dict[str, Present]
) -> None:
    heard: list[int] = []
    plan = make_plan(files, present, if_exists="skip", on_bytes=heard.append)
    sent = {"new": 0, "other": 12, "longer": 13}
    assert shown(plan) == (sent, ["same"], ("elsewhere.parquet",))
    assert (plan.replaced, heard) == (2, [files["same"].size])
    assert plan.bytes == sum(files[name].size for name in sent)


def test_overwrite_sends_all(files: dict[str, SourceFile], present: dict[str, Present]) -> None:
    plan = make_plan(files, present, if_exists="overwrite")
    assert shown(plan)[:2] == ({"new": 0, "same": 11, "other": 12, "longer": 13}, [])


def test_error_names_what_differs(
    files: dict[str, SourceFile], present: dict[str, Present]
) -> None:
    with pytest.raises(UsageError, match="2 objects are there with another content: other, longer"):
        make_plan(files, present, if_exists="error")
    del files["other"], files["longer"]
    assert shown(make_plan(files, present, if_exists="error"))[0] == {"new": 0}


def test_a_committed_checksum_is_taken_on_trust(present: dict[str, Present]) -> None:
    there = present["same"]
    file = SourceFile("/nowhere", "same", there.size, 0, there.crc32c)
    assert shown(make_plan({"same": file}, present, if_exists="skip"))[1] == ["same"]


def test_a_file_that_cannot_be_compared_is_told(present: dict[str, Present]) -> None:
    file = SourceFile("/nowhere", "same", present["same"].size, 0)
    with pytest.raises(StorageError, match="cannot read /nowhere"):
        make_plan({"same": file}, present, if_exists="skip")


@pytest.mark.parametrize(("prefix", "bare"), [("", ""), ("/a/b/", "a/b"), ("año=1", "año=1")])
def test_prefixes_lose_the_slashes_around_them(prefix: str, bare: str) -> None:
    assert check_prefix(prefix) == bare


@pytest.mark.parametrize("prefix", ["a//b", "../a", "a/./b"])
def test_prefixes_of_odd_names_are_refused(prefix: str) -> None:
    with pytest.raises(UsageError, match="expected names between single slashes"):
        check_prefix(prefix)


@pytest.mark.parametrize(
    ("name", "message"),
    [("a\nb", "no line breaks"), ("é" * 600, "at most 1,024 bytes"), ("\udcff", "is not UTF-8")],
)
def test_names_that_no_object_has_are_refused(name: str, message: str) -> None:
    sources = Sources(".", (SourceFile(name, name, 1, 0),), is_folder=True)
    with pytest.raises(UsageError, match=message):
        object_names(sources, "p")
