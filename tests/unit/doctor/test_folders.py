from __future__ import annotations

from collections import namedtuple
from pathlib import Path

import pytest

from celes_beam.doctor import folders
from celes_beam.doctor.check import State
from celes_beam.doctor.folders import check_input_path, check_output_folder
from celes_beam.errors import InputError
from celes_beam.stores.lake.lake import Lake
from tests.lakes import commit_sales


def test_an_output_that_is_there_keeps_what_it_holds(tmp_path: Path) -> None:
    (check,) = check_output_folder(str(tmp_path))
    assert check.state is State.OK
    assert check.said.startswith("there, and can be written")
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_can_be_made_is_not_made(tmp_path: Path) -> None:
    (check,) = check_output_folder(str(tmp_path / "a" / "b"))
    assert check.state is State.OK
    assert check.said.startswith(f"can be made in {tmp_path};")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("below", ["file", "file/lake"])
def test_an_output_in_the_place_of_a_file_fails(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("x")
    (check,) = check_output_folder(str(tmp_path / below))
    assert (check.state, check.said) == (State.FAILED, f"{tmp_path / 'file'} is no folder")
    assert check.remedy


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="only Linux has such a folder")
def test_an_output_that_cannot_be_written_fails() -> None:
    # Not even root makes files there.
    (check,) = check_output_folder("/proc/self/lake")
    assert check.state is State.FAILED
    assert "/proc/self cannot be read and written" in check.said


def test_little_room_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(folders.shutil, "disk_usage", lambda path: usage(9, 9, 5_000_000))
    (check,) = check_output_folder(str(tmp_path))
    assert check.state is State.WARNING
    assert "only 5.0 MB are free" in check.said


def test_inputs_are_counted(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("x" * 500_000)
    (check,) = check_input_path(str(tmp_path / "*.csv"))
    assert (check.state, check.said) == (State.OK, "2 file(s) to read, 1.0 MB")


def test_a_lake_may_be_read(tmp_path: Path) -> None:
    commit_sales(Lake.open(str(tmp_path / "lake")), "uno", [("Ropa", "Sur", 1)])
    (check,) = check_input_path(str(tmp_path / "lake"))
    assert (check.state, check.said) == (State.OK, "a lake")


def test_an_input_that_names_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nada"):
        list(check_input_path(str(tmp_path / "nada.csv")))
