"""How engines of the Python world open files: with Python itself, or with gcsfs below gs://."""

from __future__ import annotations

import os
from typing import Any, BinaryIO

from celes_beam.stores.cloud.clients import GCS_SCHEME, STORAGE_EMULATOR


def storage_emulator() -> str | None:
    """The address of the stand-in for Cloud Storage that this process is to use, if there is one.

    Workers elsewhere are told by it: they may lack the variable.
    """
    return os.environ.get(STORAGE_EMULATOR) or None


def open_for_engine(path: str, emulator: str | None) -> BinaryIO:
    """Open a file of this machine, or a gs:// URI, for reading at any position.

    Raises ``OSError``.
    """
    if not path.startswith(GCS_SCHEME):
        return open(path, "rb")  # noqa: PTH123 - the caller closes it
    opened: BinaryIO = _gcsfs(emulator).open(path, "rb")
    return opened


def _gcsfs(emulator: str | None) -> Any:
    # gcsfs is slow to import, and needed for gs:// alone.
    if not emulator:
        from gcsfs import GCSFileSystem  # noqa: PLC0415

        return GCSFileSystem()
    # Its other class asks by gRPC which kind of bucket it is: a stand-in lets it wait a minute.
    from gcsfs.core import GCSFileSystem as PlainGcsFileSystem  # noqa: PLC0415

    address = emulator if "://" in emulator else f"http://{emulator}"
    return PlainGcsFileSystem(token="anon", endpoint_url=address)
