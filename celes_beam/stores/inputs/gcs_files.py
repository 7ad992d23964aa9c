"""Input files in Cloud Storage, or in the emulator that STORAGE_EMULATOR_HOST names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from celes_beam.errors import InputError, StorageError
from celes_beam.stores.cloud.clients import GCS_SCHEME, arrow_filesystem, storage_client
from celes_beam.stores.inputs.globs import MAGIC, glob_pattern
from celes_beam.stores.inputs.names import format_of_name
from celes_beam.stores.inputs.refused import LAKE_MARK, a_lake

PAGE_OBJECTS = 1000
"""Objects of one answer to a listing, the most there can be; one answer is in memory at a time."""
_NOT_HIDDEN = re.compile(r"(?:/?[^/._][^/]*)*")


def list_gcs(pattern: str) -> Iterator[tuple[str, int, str]]:
    """List the objects that a ``gs://`` path, folder or glob names: (URL, size, generation).

    Raises ``InputError`` when there is no such bucket, it may not be listed, or an object that is
    named is in a lake.
    """
    bucket, _, name = pattern.removeprefix(GCS_SCHEME).partition("/")
    if not bucket or MAGIC.search(bucket):
        raise InputError(f"--input {pattern}: expected gs://BUCKET/OBJECT with a whole bucket name")
    name = name.rstrip("/")
    literal = MAGIC.split(name)[0]
    matcher = glob_pattern(name)
    exact, matching = [], []
    below: dict[str, tuple[str, int, str]] = {}
    lakes: set[str] = set()
    listed = _list_objects(pattern, bucket, literal)
    if name and literal == name:
        # Of what only begins alike, such as the folder ventas2 beside ventas, there may be much.
        first = _list_objects(pattern, bucket, name, most=1)
        listed = chain(first, _list_objects(pattern, bucket, f"{name}/"))
    for found, size, generation in listed:
        if (mark := f"/{found}".find(f"/{LAKE_MARK}/")) >= 0:
            lakes.add(found[:mark])
        file = (f"{GCS_SCHEME}{bucket}/{found}", size, generation)
        if found == name:
            exact = [file]
        elif found.startswith(f"{name}/" if name else ""):
            if _NOT_HIDDEN.fullmatch(found[len(name) :]) and format_of_name(found):
                below[found] = file
        elif literal != name and matcher.fullmatch(found):
            matching.append(file)
    files = exact or [*below.values()] or matching
    if files:
        # Of folders that begin before what was listed, the marks were not.
        above = literal.split("/")[:-1]
        for folder in ("/".join([*above[:n], ""]) for n in range(len(above) + 1)):
            if any(_list_objects(pattern, bucket, f"{folder}{LAKE_MARK}/", most=1)):
                lakes.add(folder)
        _check_lakes(pattern, files, [f"{GCS_SCHEME}{bucket}/{lake}" for lake in sorted(lakes)])
    return iter(files)


def _check_lakes(pattern: str, files: Sequence[tuple[str, int, str]], lakes: Sequence[str]) -> None:
    for lake in lakes:
        if any(url.startswith(lake) for url, _, _ in files):
            raise a_lake(pattern, lake.rstrip("/"))


def _list_objects(
    pattern: str, bucket: str, prefix: str, most: int | None = None
) -> Iterator[tuple[str, int, str]]:
    # Slow to import, and needed for gs:// alone.
    from google.api_core import exceptions  # noqa: PLC0415
    from google.auth.exceptions import GoogleAuthError  # noqa: PLC0415

    try:
        for blob in storage_client().list_blobs(
            bucket,
            prefix=prefix,
            fields="items(name,size,generation),nextPageToken",
            max_results=most,
            page_size=PAGE_OBJECTS,
        ):
            if not blob.name.endswith("/"):
                yield blob.name, int(blob.size), str(blob.generation)
    except exceptions.NotFound:
        raise InputError(f"--input {pattern}: no bucket {bucket}; check the name") from None
    except (exceptions.Forbidden, exceptions.Unauthorized) as error:
        raise InputError(
            f"--input {pattern}: no permission to list bucket {bucket}: grant "
            f"roles/storage.objectViewer on it ({error.message})"
        ) from error
    except GoogleAuthError as error:
        raise InputError(
            f"--input {pattern}: no usable Google Cloud credentials: run "
            f"gcloud auth application-default login ({error})"
        ) from error
    except (exceptions.GoogleAPIError, OSError) as error:
        raise StorageError(f"--input {pattern}: Cloud Storage failed: {error}") from error


def open_gcs(url: str) -> Any:
    """Open an object as a ``pyarrow.NativeFile`` for reading at any place."""
    return arrow_filesystem().open_input_file(url.removeprefix(GCS_SCHEME))
