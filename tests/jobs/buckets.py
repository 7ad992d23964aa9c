"""Inputs of cases, in a bucket."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.jobs.cases import CASES, Case, Run, ask_all, without_engine


def case_named(name: str) -> Case:
    """The case of this name."""
    return next(case for case in CASES if case.name == name)


def put_folder(folder: Path, bucket: Any, below: str) -> str:
    """Copy the files of a folder; returns its ``gs://`` URI."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            name = f"{below}/{path.relative_to(folder).as_posix()}"
            bucket.blob(name).upload_from_filename(path)
    return f"gs://{bucket.name}/{below}"


def check_in_bucket(run: Run, folder: Path, bucket: Any, *extra: str) -> None:
    """Run an engine on inputs in a bucket, with its result there too, and compare."""
    for name in ("odd-names", "hive-of-others"):
        case = case_named(name)
        case.make(folder / name, case.rows)
        source = put_folder(folder / name, bucket, f"data/{name}")
        output = f"gs://{bucket.name}/results/{name}"

        summary = run([*ask_all(case, source, output), *extra])

        assert without_engine(summary.result) == case.expected()
        written = [blob.name for blob in bucket.list_blobs(prefix=f"results/{name}/")]
        assert f"results/{name}/result.json" in written
        assert any("/sorted/part-" in path for path in written)
