from __future__ import annotations

import os
from pathlib import Path

import pytest

from celes_beam.errors import InputError, StorageError
from celes_beam.stores.inputs.files import (
    InputFile,
    folder_of,
    list_inputs,
    list_landing,
    open_input,
)
from celes_beam.stores.inputs.globs import glob_pattern


def make(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)


def names(root: Path, *patterns: str) -> list[str]:
    found = list_inputs([str(root / pattern) for pattern in patterns])
    return [Path(file.path).relative_to(root).as_posix() for file in found]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    make(
        tmp_path,
        "a.csv",
        "b.csv",
        "c.ndjson",
        "2024/01/x.csv",
        "2024/02/y.csv",
        "2025/01/z.csv",
        "2024/_staging/no.csv",
        "2024/01/.hidden.csv",
        "2024/01/_SUCCESS",
        "_runs/r.csv",
        "odd[1].csv",
    )
    return tmp_path


def test_a_file_has_its_absolute_path_size_and_time(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root)
    (file,) = list_inputs(["2024/../a.csv"])
    status = (root / "a.csv").stat()
    assert file == InputFile(str(root / "a.csv"), 5, str(status.st_mtime_ns))


def test_a_folder_is_searched_to_the_bottom_without_hidden_names(root: Path) -> None:
    assert names(root, "2024") == ["2024/01/x.csv", "2024/02/y.csv"]
    assert len(names(root, ".")) == 7


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.csv", ["a.csv", "b.csv", "odd[1].csv"]),
        ("?.*", ["a.csv", "b.csv", "c.ndjson"]),
        ("[ac].*", ["a.csv", "c.ndjson"]),
        ("[!a].csv", ["b.csv"]),
        ("odd[[]1].csv", ["odd[1].csv"]),
        ("odd[1].csv", ["odd[1].csv"]),
        ("2024/*/*.csv", ["2024/01/x.csv", "2024/02/y.csv"]),
        ("*/01/*.csv", ["2024/01/x.csv", "2025/01/z.csv"]),
        ("**/*.csv", None),
        ("2024/**", ["2024/01/x.csv", "2024/02/y.csv"]),
        ("20*", ["2024/01/x.csv", "2024/02/y.csv", "2025/01/z.csv"]),
        ("*/01", ["2024/01/x.csv", "2025/01/z.csv"]),
        ("_runs/*.csv", ["_runs/r.csv"]),
        ("_*/*.csv", ["_runs/r.csv"]),
        ("2024/01/.*", ["2024/01/.hidden.csv"]),
        ("2024/_staging/no.csv", ["2024/_staging/no.csv"]),
    ],
)
def test_globs(root: Path, pattern: str, found: list[str] | None) -> None:
    everything = [n for n in names(root, ".") if n.endswith(".csv")]
    assert names(root, pattern) == (everything if found is None else found)


def test_files_named_twice_are_listed_once_and_sorted(root: Path) -> None:
    (root / "link.csv").symlink_to(root / "b.csv")
    assert names(root, "b.csv", "*.csv", "a.csv") == ["a.csv", "b.csv", "odd[1].csv"]


def test_links_to_folders_are_followed_but_not_in_circles(root: Path) -> None:
    (root / "2025" / "again").symlink_to(root / "2025")
    (root / "2025" / "other").symlink_to(root / "2024" / "02")
    assert names(root, "2025") == ["2024/02/y.csv", "2025/01/z.csv"]


def test_a_file_has_its_real_path_by_whatever_name_it_is_found(root: Path) -> None:
    (root / "links").mkdir()
    (root / "links" / "one.csv").symlink_to(root / "a.csv")
    (root / "links" / "folder").symlink_to(root / "2024")
    (root / "again").symlink_to(root / "links")
    (file,) = list_inputs([str(root / "a.csv")])
    for pattern in ("again/one.csv", "again/o*", "**/one.csv"):
        assert list_inputs([str(root / pattern)]) == [file]
    assert names(root, "a.csv", "links", "again/*", "2024/**/*.csv", "links/../a.csv") == [
        "2024/01/x.csv",
        "2024/02/y.csv",
        "a.csv",
    ]


def test_a_link_to_nothing_is_named(root: Path) -> None:
    (root / "2024" / "gone.csv").symlink_to(root / "nothing.csv")
    for pattern in ("2024", "2024/*.csv", "2024/gone.csv"):
        with pytest.raises(InputError, match=r"gone\.csv: a link to what is not there"):
            list_inputs([str(root / pattern)])


def test_in_a_folder_only_names_of_known_formats_are_read(root: Path) -> None:
    make(
        root, "mixed/a.csv.tmp", "mixed/README", "mixed/b.csv~", "mixed/c.csv.part", "mixed/d.xlsx"
    )
    with pytest.raises(InputError, match=r"no file to read: none ends in \.csv, .*\.gz"):
        list_inputs([str(root / "mixed")])
    known = ["a.csv", "b.TSV", "c.txt", "d.ndjson", "e.jsonl", "f.json", "g.parquet", "h.csv.gz"]
    make(root, *(f"mixed/{name}" for name in known))
    assert names(root, "mixed") == names(root, "mix*") == [f"mixed/{name}" for name in known]
    assert names(root, "mixed/a.csv.tmp", "mixed/b*~") == ["mixed/a.csv.tmp", "mixed/b.csv~"]


def test_a_lake_is_no_input(root: Path) -> None:
    make(root, "lake/_commits/r.json", "lake/region_de_venta=Sur/p.parquet", "lake/x/y/z.csv")
    (root / "link").symlink_to(root / "lake" / "x")
    for pattern in (
        "lake",
        ".",
        "lake/x",
        "lake/x/y/z.csv",
        "l*",
        "lake/**/*.parquet",
        "**/*.csv",
        "link",
        "link/y/z.csv",
        "lake/_commits/r.json",
    ):
        with pytest.raises(InputError, match=rf"{root}/lake is a lake: .*to copy a lake, copy"):
            list_inputs([str(root / "a.csv"), str(root / pattern)])
    assert names(root, "*.csv", "2024") == names(root, "2024/**", "*.csv")


def test_an_empty_lake_below_an_input_is_refused_too(root: Path) -> None:
    (root / "2024" / "lake" / "_commits").mkdir(parents=True)
    with pytest.raises(InputError, match="2024/lake is a lake"):
        list_inputs([str(root / "2024")])


def test_the_output_is_no_input(root: Path) -> None:
    (root / "link").symlink_to(root / "2024")
    for pattern in ("2024", "2024/01/x.csv", "20*", "link", "**/*.csv"):
        for output in ("2024", "link", "2024/../link"):
            with pytest.raises(InputError, match=rf"is in the output {root}/2024; give"):
                list_inputs([str(root / pattern)], outside=str(root / output))
    assert len(list_inputs([str(root / "2024")], outside=str(root / "20"))) == 2
    assert len(list_inputs([str(root / "2024")], outside=str(root / "not/there"))) == 2


def test_what_is_not_there_is_named_with_a_remedy(root: Path) -> None:
    (root / "empty").mkdir()
    make(root, "hidden/_x.csv")
    for pattern, message in [
        ("no.csv", "no such file or folder; check the path"),
        ("a.csv/b.csv", "no such file or folder; check the path"),
        ("*.tsv", "no file matches; check the pattern"),
        ("no/*.csv", "no file matches; check the pattern"),
        ("empty", "the folder holds no file to read"),
        ("hidden", "the folder holds no file to read"),
    ]:
        with pytest.raises(InputError, match=message) as caught:
            list_inputs([str(root / "a.csv"), str(root / pattern)])
        assert str(root / pattern) in str(caught.value)


def test_what_is_no_file_is_refused(root: Path) -> None:
    os.mkfifo(root / "pipe")
    with pytest.raises(InputError, match="not a regular file"):
        list_inputs([str(root / "pipe")])
    with pytest.raises(InputError, match="expected a local path or gs://"):
        list_inputs(["s3://bucket/x.csv"])
    with pytest.raises(InputError, match="--input is empty"):
        list_inputs([""])
    with pytest.raises(InputError, match="whole bucket name"):
        list_inputs(["gs://buck*/x.csv"])


def test_a_file_that_may_not_be_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Tests may run as root, who may read everything.
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(InputError, match=r"no permission to read .*a\.csv: allow it"):
        list_inputs([str(root / "a.csv")])


def test_a_disk_that_fails(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path) -> None:
        raise OSError(5, "Input/output error", str(path))

    monkeypatch.setattr(os, "scandir", fail)
    with pytest.raises(StorageError, match="Input/output error"):
        list_inputs([str(root / "2024")])


def test_a_file_that_changed_since_it_was_listed_is_not_read(root: Path) -> None:
    (file,) = list_inputs([str(root / "a.csv")])
    with open_input(file) as source:
        assert source.read() == b"a.csv"
    os.utime(file.path, ns=(1, 1))
    with pytest.raises(InputError, match=r"a\.csv: changed since it was listed"):
        open_input(file)
    Path(file.path).write_text("longer than it was")
    with pytest.raises(InputError, match="when it had 5 bytes"):
        open_input(file)
    Path(file.path).unlink()
    with pytest.raises(InputError, match="gone since it was listed"):
        open_input(file)


@pytest.mark.parametrize(
    ("glob", "path", "fits"),
    [
        ("a/**/b.csv", "a/b.csv", True),
        ("a/**/b.csv", "a/x/y/b.csv", True),
        ("a/**/b.csv", "a/_x/b.csv", False),
        ("a*/b", "a/x/b", False),
        ("[a-c]x", "bx", True),
        ("[a-c]x", "dx", False),
        ("[]x]y", "]y", True),
        ("a.c", "abc", False),
        ("[a", "[a", True),
        ("*", "a\nb", True),
    ],
)
def test_glob_pattern(glob: str, path: str, fits: bool) -> None:
    assert bool(glob_pattern(glob).fullmatch(path)) == fits


def test_a_pattern_may_name_nothing_when_that_is_known(tmp_path: Path) -> None:
    make(tmp_path, "b/x.csv")
    patterns = [str(tmp_path / "a*.csv"), str(tmp_path / "b")]

    found = list_inputs(patterns, may_be_empty=lambda p: p == patterns[0])

    assert [Path(f.path).name for f in found] == ["x.csv"]
    with pytest.raises(InputError, match="no file matches"):
        list_inputs(patterns, may_be_empty=lambda p: p == patterns[1])
    with pytest.raises(InputError, match="no such file or folder"):
        list_inputs([str(tmp_path / "gone")], may_be_empty=lambda _: True)


@pytest.mark.parametrize("pattern", ["in", "in/", "in/*.csv", "in/**/v-[ab].csv", "link", "link/*"])
def test_all_files_of_a_pattern_are_in_its_folder(tmp_path: Path, pattern: str) -> None:
    make(tmp_path, "in/a.csv", "in/deep/v-a.csv")
    (tmp_path / "link").symlink_to(tmp_path / "in")
    asked = f"{tmp_path}/{pattern}"

    assert folder_of(asked) == f"{os.path.realpath(tmp_path)}/in/"
    assert all(f.path.startswith(folder_of(asked)) for f in list_inputs([asked]))


@pytest.mark.parametrize(
    ("pattern", "folder"),
    [
        ("gs://b", "gs://b/"),
        ("gs://b/in/", "gs://b/in/"),
        ("gs://b/in", "gs://b/in/"),
        ("gs://b/in/v*.csv", "gs://b/in/v"),
    ],
)
def test_the_folder_of_a_pattern_in_a_bucket(pattern: str, folder: str) -> None:
    assert folder_of(pattern) == folder


def test_a_landing_folder_may_be_empty_but_must_be_there(tmp_path: Path) -> None:
    def none(path: str, why: str) -> None:
        raise AssertionError(why)

    assert list_landing([str(tmp_path), str(tmp_path / "*.csv")], None, none) == []
    for name in ("gone", "gone/*.csv"):
        with pytest.raises(InputError, match="gone"):
            list_landing([str(tmp_path / name)], None, none)


@pytest.mark.parametrize("output", ["in/lake", "in/deep/lake"])
def test_an_output_inside_the_input_is_refused_before_a_first_run(
    tmp_path: Path, output: str
) -> None:
    make(tmp_path, "in/a.csv")
    asked = [str(tmp_path / "in")]
    with pytest.raises(InputError, match="is inside it, and not hidden"):
        list_inputs(asked, str(tmp_path / output))
    for beside in ("in2/lake", "in/_lake", "in/.hidden/lake", "lake"):
        assert len(list_inputs(asked, str(tmp_path / beside))) == 1
    assert len(list_inputs([f"{tmp_path}/in/*.csv"], str(tmp_path / output))) == 1
    assert len(list_inputs([f"{tmp_path}/in/a.csv"], str(tmp_path / output))) == 1


def test_a_file_that_goes_while_it_is_listed_is_not_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "a.csv", "b.csv")
    told: dict[str, str] = {}
    stat = Path.stat

    def going(path: Path, **options: bool) -> os.stat_result:
        if path.name == "a.csv":
            path.unlink(missing_ok=True)
        return stat(path, **options)

    monkeypatch.setattr(Path, "stat", going)

    found = list_landing([str(tmp_path)], None, told.setdefault)

    assert [Path(f.path).name for f in found] == ["b.csv"]
    assert told == {}


def test_many_files_are_listed_by_few_calls_for_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To resolve the path of each takes a look at every folder above, which are always the same."""
    for number in range(3000):
        (tmp_path / f"{number:05d}.csv").touch()
    (tmp_path / "link.csv").symlink_to(tmp_path / "00001.csv")
    resolved = []
    real = os.path.realpath

    def counted(path: str) -> str:
        resolved.append(path)
        return real(path)

    monkeypatch.setattr(os.path, "realpath", counted)
    found = list_inputs([str(tmp_path)])
    assert [f.path for f in found] == [str(tmp_path / f"{n:05d}.csv") for n in range(3000)]
    assert len(resolved) < 10
