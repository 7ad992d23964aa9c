"""How engines of the Python world open files: with Python itself, or with gcsfs below gs://."""

from __future__ import annotations

import os
from typing import Any, BinaryIO

from celes_beam.stores.cloud.clients import GCS_SCHEME, STORAGE_EMULATOR

# Without it gcsfs asks a bucket by gRPC which kind it is: a stand-in lets it wait for a minute.
_NO_KIND_CHECK = ("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")


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
    os.environ.setdefault(*_NO_KIND_CHECK)
    import gcsfs  # noqa: PLC0415 - needed for gs:// alone

    options: dict[str, Any] = {}
    if emulator:
        address = emulator if "://" in emulator else f"http://{emulator}"
        options = {"token": "anon", "endpoint_url": address}
    opened: BinaryIO = gcsfs.GCSFileSystem(**options).open(path, "rb")
    return opened
