from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from celes_beam.stores.work_folder import (
    STALE_SECONDS,
    hidden_beside,
    sweep_beside,
    work_folder_beside,
)

NOW = 1_700_000_000.0


def aged(path: Path, seconds: float) -> Path:
    os.utime(path, (NOW - seconds,) * 2)
    return path


def test_a_folder_is_there_for_as_long_as_it_is_needed(tmp_path: Path) -> None:
    with work_folder_beside(tmp_path / "deep" / "v[1]") as folder:
        assert folder.name.startswith(".v[1].celes-")
        (folder / "part").touch()
    assert list((tmp_path / "deep").iterdir()) == []


def test_old_files_and_folders_of_ours_are_swept(tmp_path: Path) -> None:
    target = tmp_path / "v[1].csv"
    file, folder = hidden_beside(target), hidden_beside(target)
    file.touch()
    (folder / "deep").mkdir(parents=True)
    for path in (file, folder / "deep", folder):
        aged(path, STALE_SECONDS + 1)
    sweep_beside(target, NOW)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name",
    [
        "v.csv",
        ".v.csv",
        ".v.csv.celes-notes",
        f".w.csv.celes-{'a' * 32}",
        f".v.csv.celes-{'a' * 33}",
        f"v.csv.celes-{'a' * 32}",
    ],
)
def test_what_is_not_ours_stays(tmp_path: Path, name: str) -> None:
    aged_file = tmp_path / name
    aged_file.touch()
    aged(aged_file, STALE_SECONDS * 9)
    sweep_beside(tmp_path / "v.csv", NOW)
    assert aged_file.exists()


def test_what_has_changed_within_a_day_stays(tmp_path: Path) -> None:
    folder = hidden_beside(tmp_path / "v")
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "part").touch()
    aged(folder / "deep" / "part", STALE_SECONDS - 1)
    for path in (folder / "deep", folder):
        aged(path, STALE_SECONDS * 2)
    sweep_beside(tmp_path / "v", NOW)
    assert folder.exists()


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    link = hidden_beside(tmp_path / "v")
    link.symlink_to(real)
    os.utime(link, (0, 0), follow_symlinks=False)
    sweep_beside(tmp_path / "v", NOW)
    assert not link.is_symlink()
    assert real.exists()


def test_what_late_threads_write_meanwhile_is_removed_too(tmp_path: Path) -> None:
    def write(folder: Path) -> None:
        with suppress(OSError):
            for number in range(20_000):
                (folder / f"late-{number}").touch()

    with work_folder_beside(tmp_path / "v") as folder:
        for number in range(2_000):
            (folder / str(number)).touch()
        late = threading.Thread(target=write, args=[folder])
        late.start()
    late.join()
    assert list(tmp_path.iterdir()) == []
