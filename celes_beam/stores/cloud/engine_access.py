"""How engines of the Python world open files: with Python itself, or with gcsfs below gs://."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, BinaryIO

from celes_beam.stores.cloud.clients import GCS_SCHEME, STORAGE_EMULATOR

# Without it gcsfs asks a bucket by gRPC which kind it is: a stand-in lets it wait for a minute.
_NO_KIND_CHECK = {"GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false"}


def gcsfs_environment() -> Mapping[str, str]:
    """Variables that every process must have that opens files below gs://, before it does."""
    emulator = os.environ.get(STORAGE_EMULATOR)
    return {**_NO_KIND_CHECK, STORAGE_EMULATOR: emulator} if emulator else _NO_KIND_CHECK


def gcsfs_options() -> Mapping[str, Any]:
    """Arguments of ``gcsfs.GCSFileSystem``, as the ``storage_options`` of pandas and Dask."""
    return {"token": "anon"} if os.environ.get(STORAGE_EMULATOR) else {}


def open_for_engine(path: str) -> BinaryIO:
    """Open a file of this machine, or a gs:// URI, for reading at any position.

    Raises ``OSError``.
    """
    if not path.startswith(GCS_SCHEME):
        return open(path, "rb")  # noqa: PTH123 - the caller closes it
    for name, value in gcsfs_environment().items():
        os.environ.setdefault(name, value)
    import gcsfs  # noqa: PLC0415 - needed for gs:// alone

    opened: BinaryIO = gcsfs.GCSFileSystem(**gcsfs_options()).open(path, "rb")
    return opened
