"""What an upload has to send: the files of a path against the objects that are there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from celes_beam.errors import UsageError
from celes_beam.stores.cloud.failures import cloud_errors
from celes_beam.stores.inputs.refused import LAKE_MARK
from celes_beam.stores.lake.local_files import storage_errors
from celes_beam.stores.lake.measure import measure_file
from celes_beam.stores.upload.sources import PARQUET, SourceFile, Sources

IfExists = Literal["skip", "error", "overwrite"]
IF_EXISTS: tuple[IfExists, ...] = ("skip", "error", "overwrite")
_MOST_NAME_BYTES = 1024
_SHOWN = 3


@dataclass(frozen=True)
class Present:
    """An object that is there: its bytes, CRC32C in base64, and generation."""

    size: int
    crc32c: str
    generation: int


@dataclass(frozen=True)
class Transfer:
    """A file and its object. ``generation`` is that of the object it replaces, 0 for a new one."""

    file: SourceFile
    name: str
    generation: int = 0


@dataclass(frozen=True)
class Plan:
    """What is to be sent, what is there already with the same content, and what else is there.

    ``others`` are Parquet objects below the prefix that no file of the path is the source of.
    """

    send: tuple[Transfer, ...]
    same: tuple[Transfer, ...] = ()
    others: tuple[str, ...] = ()

    @property
    def bytes(self) -> int:
        """Bytes to send."""
        return sum(t.file.size for t in self.send)

    @property
    def replaced(self) -> int:
        """How many of the objects are there with another content."""
        return sum(t.generation > 0 for t in self.send)


def check_prefix(prefix: str) -> str:
    """A prefix without slashes around it. Raises ``UsageError`` for one that makes odd names."""
    bare = prefix.strip("/")
    if bare and not all(part not in ("", ".", "..") for part in bare.split("/")):
        raise UsageError(f"--prefix {prefix}: expected names between single slashes, such as a/b")
    return bare


def object_names(sources: Sources, prefix: str) -> dict[str, SourceFile]:
    """The files by the names of their objects. Raises ``UsageError`` for a name no object has."""
    names = {f"{prefix}/{file.name}" if prefix else file.name: file for file in sources.files}
    for name, file in names.items():
        try:
            size = len(name.encode())
        except UnicodeEncodeError:
            raise UsageError(f"{file.path!r}: its name is not UTF-8; rename it") from None
        if size > _MOST_NAME_BYTES or "\n" in name or "\r" in name:
            raise UsageError(
                f"{file.path!r}: an object's name has at most {_MOST_NAME_BYTES:,} bytes and no "
                "line breaks; rename it, or give a shorter --prefix"
            )
    return names


def listed_prefix(sources: Sources, prefix: str) -> str:
    """What the names of all objects begin with that may be those of the files."""
    below = f"{prefix}/" if prefix else ""
    return below if sources.is_folder else below + sources.files[0].name


def list_present(client: Any, bucket: str, start: str) -> dict[str, Present]:
    """The objects whose names begin with ``start``, by name.

    Raises ``UsageError`` when they may not be listed, ``StorageError`` when the service fails.
    """
    with cloud_errors("list", f"gs://{bucket}/{start}", needs="roles/storage.objectViewer"):
        found = client.list_blobs(
            bucket, prefix=start, fields="items(name,size,crc32c,generation),nextPageToken"
        )
        return {b.name: Present(int(b.size), b.crc32c or "", int(b.generation)) for b in found}


def check_no_lake(
    client: Any, bucket: str, names: Iterable[str], present: Iterable[str], below: str
) -> None:
    """Raise ``UsageError`` when an object would come to lie in a lake, which did not commit it.

    ``present`` are the names of all objects whose names begin with ``below``; the folders above are
    asked for.
    """
    marks = f"/{LAKE_MARK}/"
    lakes = {there.partition(marks)[0] + "/" for there in present if marks in there}
    lakes |= {"" for there in present if there.startswith(marks[1:])}
    inside = {folder for name in names for folder in _folders(name)}
    for folder in sorted(inside):
        seen = folder.startswith(below)
        if folder in lakes if seen else _is_lake(client, bucket, folder):
            raise UsageError(
                f"gs://{bucket}/{folder} holds a lake, whose files count only as its commits say: "
                "give another --prefix, or commit the rows to it (python -m pipelines.batch "
                f"--if_exists append --output gs://{bucket}/{folder})"
            )


def _folders(name: str) -> Iterator[str]:
    """The folders that an object is in: that of the bucket, which is "", and those with a slash."""
    yield ""
    parts = name.split("/")[:-1]
    for depth in range(1, len(parts) + 1):
        yield "/".join(parts[:depth]) + "/"


def _is_lake(client: Any, bucket: str, folder: str) -> bool:
    with cloud_errors("list", f"gs://{bucket}/{folder}", needs="roles/storage.objectViewer"):
        marks = client.list_blobs(bucket, prefix=f"{folder}{LAKE_MARK}/", max_results=1)
        return any(True for _ in marks)


def make_plan(
    names: Mapping[str, SourceFile],
    present: Mapping[str, Present],
    *,
    if_exists: IfExists,
    workers: int = 8,
    on_bytes: Callable[[int], None] = lambda _: None,
) -> Plan:
    """Decide what is sent. ``on_bytes`` hears of the bytes that need not be.

    Raises ``UsageError`` when ``if_exists`` is "error" and an object differs, ``StorageError`` when
    a file cannot be read.
    """
    send: list[Transfer] = []
    same: list[Transfer] = []
    with ThreadPoolExecutor(workers) as pool:
        compared = _same_content(names, present, if_exists, pool)
        for (name, file), is_same in zip(names.items(), compared, strict=True):
            there = present.get(name)
            transfer = Transfer(file, name, there.generation if there else 0)
            (same if is_same else send).append(transfer)
            if is_same:
                on_bytes(file.size)
    differing = [t.name for t in send if t.generation]
    if differing and if_exists == "error":
        more = f" and {len(differing) - _SHOWN:,} more" if differing[_SHOWN:] else ""
        raise UsageError(
            f"{len(differing):,} objects are there with another content: "
            f"{', '.join(differing[:_SHOWN])}{more}; nothing was sent. Replace them with "
            "--if_exists skip, or give another --prefix"
        )
    others = tuple(n for n in present if n not in names and n.lower().endswith(PARQUET))
    return Plan(tuple(send), tuple(same), others)


def _same_content(
    names: Mapping[str, SourceFile],
    present: Mapping[str, Present],
    if_exists: IfExists,
    pool: ThreadPoolExecutor,
) -> Iterator[bool]:
    def compare(name: str) -> bool:
        file, there = names[name], present.get(name)
        if if_exists == "overwrite" or there is None or there.size != file.size:
            return False
        return crc32c_of(file) == there.crc32c

    return pool.map(compare, names)


def crc32c_of(file: SourceFile) -> str:
    """CRC32C of a file in base64, as its lake's commit or else its bytes have it.

    Raises ``StorageError`` when it cannot be read.
    """
    if file.crc32c is not None:
        return file.crc32c
    with storage_errors("read", file.path):
        return measure_file(Path(file.path))[1]
