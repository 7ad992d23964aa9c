"""Inputs in Cloud Storage, against a real server of its protocol on this machine."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from celes_beam.contract import COLUMN_NAMES
from celes_beam.errors import InputError, StorageError
from celes_beam.stores.inputs import gcs_files
from celes_beam.stores.inputs.files import list_inputs
from celes_beam.stores.inputs.ranges import plan_ranges
from celes_beam.stores.inputs.read import ReadOptions, read_range
from tests.sales import RULES

HEADER = ",".join(COLUMN_NAMES).encode() + b"\n"
GOOD = b"1,2024-01-31,5.50,Hogar,Norte\n"


def put(bucket: Any, **objects: bytes) -> None:
    for name, data in objects.items():
        bucket.blob(name).upload_from_string(data)


def names(bucket: Any, pattern: str) -> list[str]:
    start = f"gs://{bucket.name}/"
    return [f.path.removeprefix(start) for f in list_inputs([f"{start}{pattern}"])]


def rows_of(pattern: str, how: ReadOptions) -> tuple[int, int]:
    accepted = rejected = 0
    for file in list_inputs([pattern]):
        for part in plan_ranges(file, how):
            for found in read_range(part, how, RULES):
                accepted += found.accepted.num_rows
                rejected += found.rejected.num_rows
    return accepted, rejected


def test_what_only_begins_alike_is_not_listed(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    put(bucket, **{f"in{n}/x.csv": b"" for n in range(5)}, **{"in/a.csv": b"", "in.csv": b""})
    told: list[str] = []
    found = gcs_files._list_objects

    def listed(*asked: Any, **how: Any) -> Any:
        for each in found(*asked, **how):
            told.append(each[0])
            yield each

    monkeypatch.setattr(gcs_files, "_list_objects", listed)
    assert names(bucket, "in") == names(bucket, "in/") == ["in/a.csv"]
    assert names(bucket, "in.csv") == ["in.csv"]
    assert not [name for name in told if name.endswith("/x.csv")]


@pytest.mark.parametrize("name", ["in", "in/"])
def test_an_output_inside_an_input_folder_is_refused(bucket: Any, name: str) -> None:
    put(bucket, **{"in/a.csv": b""})
    place = f"gs://{bucket.name}"
    with pytest.raises(InputError, match=f"the output {place}/in/lake is inside it"):
        list_inputs([f"{place}/{name}"], f"{place}/in/lake/")
    for beside in ("in2", "in/_lake"):
        assert len(list_inputs([f"{place}/{name}"], f"{place}/{beside}")) == 1


def test_objects_folders_and_globs_are_listed(bucket: Any) -> None:
    objects = [
        "a.csv",
        "2024/01/x.csv",
        "2024/02/y.csv",
        "2024/_tmp/no.csv",
        "2024/.no.csv",
        "2024b.csv",
        "empty/",
        "odd[1].csv",
    ]
    put(bucket, **dict.fromkeys(objects, b"x"))
    assert names(bucket, "a.csv") == ["a.csv"]
    assert names(bucket, "2024") == ["2024/01/x.csv", "2024/02/y.csv"]
    assert names(bucket, "2024/") == ["2024/01/x.csv", "2024/02/y.csv"]
    assert names(bucket, "*.csv") == ["2024b.csv", "a.csv", "odd[1].csv"]
    assert names(bucket, "2024/*/*.csv") == ["2024/01/x.csv", "2024/02/y.csv"]
    assert names(bucket, "**/*.csv") == names(bucket, "")
    assert names(bucket, "20*/01") == ["2024/01/x.csv"]
    assert names(bucket, "odd[1].csv") == ["odd[1].csv"]
    assert len(names(bucket, "")) == 5


def test_the_version_is_the_generation(bucket: Any) -> None:
    put(bucket, **{"a.csv": b"one"})
    (first,) = list_inputs([f"gs://{bucket.name}/a.csv"])
    put(bucket, **{"a.csv": b"two"})
    (second,) = list_inputs([f"gs://{bucket.name}/a.csv"])
    assert (first.size, second.size) == (3, 3)
    assert first.version != second.version
    assert second.version == str(bucket.get_blob("a.csv").generation)


def test_what_is_not_there_is_said(bucket: Any) -> None:
    put(bucket, **{"empty/": b"", "hidden/_x": b"x"})
    for pattern, message in [
        (f"gs://{bucket.name}/no.csv", "no such object or folder"),
        (f"gs://{bucket.name}/empty", "no such object or folder"),
        (f"gs://{bucket.name}/*.csv", "no file matches"),
        ("gs://there-is-no-such-bucket/a.csv", "no bucket there-is-no-such-bucket"),
    ]:
        with pytest.raises(InputError, match=message):
            list_inputs([pattern])


def test_files_are_read_as_from_a_disk(bucket: Any, tmp_path: Path) -> None:
    table = pa.table(
        {
            "id_cliente": [1, 2],
            "fecha_de_transaccion": ["2024-01-31"] * 2,
            "cantidad_de_venta": [5.5, 0.001],
            "categoria_de_producto": ["Hogar"] * 2,
            "region_de_venta": ["Norte"] * 2,
        }
    )
    pq.write_table(table, tmp_path / "v.parquet")
    quoted = b'2,2024-01-31,1,"Ho\ngar",Norte\n'
    put(
        bucket,
        **{
            "in/plain.csv": HEADER + GOOD * 1000 + b"bad\n",
            "in/quoted.csv": HEADER + (GOOD + quoted) * 100,
            "in/zipped.csv.gz": gzip.compress(HEADER + GOOD * 10),
            "in/lines.ndjson": b'{"id_cliente": 1}\n' * 7,
            "in/columns.parquet": (tmp_path / "v.parquet").read_bytes(),
            "in/empty.csv": b"",
        },
    )
    how = ReadOptions(gcs_range_bytes=10_000, chunk_bytes=1000)
    accepted = {"plain.csv": 1000, "quoted.csv": 200, "zipped.csv.gz": 10, "columns.parquet": 1}
    rejected = {"plain.csv": 1, "lines.ndjson": 7, "columns.parquet": 1}
    for name in (*accepted, *rejected, "empty.csv"):
        found = rows_of(f"gs://{bucket.name}/in/{name}", how)
        assert found == (accepted.get(name, 0), rejected.get(name, 0)), name
    assert rows_of(f"gs://{bucket.name}/in", how) == (1211, 9)


def test_objects_are_read_in_larger_ranges_than_files(bucket: Any, tmp_path: Path) -> None:
    data = HEADER + GOOD * 180_000
    (tmp_path / "a.csv").write_bytes(data)
    put(bucket, **{"a.csv": data})
    (here,) = list_inputs([str(tmp_path / "a.csv")])
    (there,) = list_inputs([f"gs://{bucket.name}/a.csv"])
    assert len(plan_ranges(here, ReadOptions())) == 2
    assert len(plan_ranges(there, ReadOptions())) == 1


def test_an_object_that_changed_since_it_was_listed_is_not_read(bucket: Any) -> None:
    put(bucket, **{"a.csv": HEADER + GOOD})
    (file,) = list_inputs([f"gs://{bucket.name}/a.csv"])
    (part,) = plan_ranges(file, ReadOptions())
    put(bucket, **{"a.csv": HEADER + GOOD.replace(b"1", b"2")})
    with pytest.raises(InputError, match=r"gs://.*a\.csv: changed since it was listed"):
        list(read_range(part, ReadOptions(), RULES))
    bucket.blob("a.csv").delete()
    with pytest.raises(InputError, match=r"gs://.*a\.csv: gone since it was listed"):
        list(read_range(part, ReadOptions(), RULES))


@pytest.mark.usefixtures("bucket")
def test_a_server_that_fails_is_a_storage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from google.api_core import exceptions

    def fail(*_: object, **__: object) -> None:
        raise exceptions.InternalServerError("on fire")

    def refuse(*_: object, **__: object) -> None:
        raise exceptions.Forbidden("not yours")

    client = gcs_files.storage_client()
    monkeypatch.setattr(gcs_files, "storage_client", lambda: client)
    monkeypatch.setattr(client, "list_blobs", fail)
    with pytest.raises(StorageError, match="Cloud Storage failed: 500 on fire"):
        list_inputs(["gs://bucket/a.csv"])
    monkeypatch.setattr(client, "list_blobs", refuse)
    with pytest.raises(
        InputError, match=r"no permission to list bucket bucket: grant roles/storag"
    ):
        list_inputs(["gs://bucket/a.csv"])
