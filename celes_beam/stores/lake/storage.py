"""Where a lake rests: the few operations the commit protocol needs of a place.

Names are relative to the root and separated by "/". Nothing but ``put_if_absent`` has to be
atomic against other processes, so that an object store can do the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

from celes_beam.errors import UsageError
from celes_beam.stores.cloud.clients import GCS_SCHEME
from celes_beam.stores.lake.gcs_storage import GcsStorage
from celes_beam.stores.lake.local_files import is_file
from celes_beam.stores.lake.local_storage import LocalStorage
from celes_beam.stores.lake.staging_area import StagingArea
from celes_beam.stores.lake.stored import StoredFile


class Storage(Protocol):
    """Holds the files of one lake. Every method raises ``StorageError`` naming what failed."""

    root: str

    def note_missing_root(self) -> None:
        """Remember the folders down to the lake's own that are not there yet."""
        ...

    def remove_new_root(self) -> None:
        """Remove such folders, as far as they are empty."""
        ...

    def put_if_absent(self, name: str, data: bytes) -> bool:
        """Create ``name`` whole and durable; False when it is already there."""
        ...

    def read(self, name: str) -> bytes:
        """The content of a file."""
        ...

    def open(self, name: str) -> BinaryIO:
        """Open a file for reading at any position."""
        ...

    def exists(self, name: str) -> bool:
        """Whether a file is there."""
        ...

    def move(self, source: str, target: str) -> None:
        """Move a file; done already when ``target`` is there and ``source`` is gone."""
        ...

    def delete(self, name: str) -> None:
        """Delete a file, and the folders it leaves empty; done already when it is gone."""
        ...

    def delete_folder(self, name: str) -> None:
        """Delete a folder and all in it, and the folders that leaves empty."""
        ...

    def list(
        self, folder: str = "", *, recursive: bool = True, hidden: bool = True
    ) -> Iterator[StoredFile]:
        """The files in a folder, in order of their names; none when the folder is not there.

        ``hidden`` False leaves out names that begin with "_" or ".", and all that is under them.
        """
        ...

    def sync(self, names: Iterable[str]) -> None:
        """Make the names of files in their folders survive a power failure.

        What is in the files survives since they were put or delivered.
        """
        ...

    def tidy(self, folder: str) -> None:
        """Remove what killed ``put_if_absent`` calls left in a folder."""
        ...

    def staging_area(self, folder: str) -> StagingArea:
        """Where the writers of an attempt leave their files, which end up in ``folder``."""
        ...

    def uri(self, name: str) -> str:
        """The whole path or URI of a name, for messages and for other programs."""
        ...

    @property
    def at_once(self) -> int:
        """How many operations are worth doing at once; 1 where none waits for a network."""
        ...

    @property
    def moves_by_copy(self) -> bool:
        """Whether a move is a copy and a deletion, and not one moment."""
        ...


def open_storage(root: str) -> Storage:
    """Open the folder of a lake, which need not be there yet.

    Raises ``UsageError`` for a root that cannot hold a lake.
    """
    if not root.strip():
        raise UsageError("the lake's folder is empty text: give a folder, such as ./lake")
    if root.startswith(GCS_SCHEME):
        return GcsStorage(root)
    # With one slash it would be a folder of this machine, which nobody means.
    if "://" in root or root.startswith("gs:"):
        raise UsageError(f"{root}: expected a local folder, or gs://BUCKET/FOLDER")
    if is_file(Path(root)):
        raise UsageError(f"{root} is a file: a lake is a folder; give another name")
    return LocalStorage(root)
