"""An output folder in a bucket: claimed by one run, filled, and finished by the object put last.

Objects take their places one by one, so a folder is whole only when its last object is there. It is
taken away before the first of the others changes. Whoever holds the claim writes alone; what a
killed run left of its own is taken over when it is old.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from celes_beam.errors import CelesError, LakeConflictError, LakeExistsError, StorageError
from celes_beam.stores.cloud.clients import GCS_SCHEME
from celes_beam.stores.cloud.deliver import deliver_file
from celes_beam.stores.datasets.gcs_claim import STALE_SECONDS, Claim
from celes_beam.stores.lake.gcs_storage import AT_ONCE, GcsStorage
from celes_beam.stores.lake.measure import measure_file
from celes_beam.stores.lake.staging_area import each
from celes_beam.stores.work_folder import work_folder_beside

CLAIM = "_WRITING"
"""The object that says a run is writing to the folder."""


class GcsOutput:
    """The folder ``gs://BUCKET/FOLDER`` (``root``), finished by the object ``last``.

    Raises ``UsageError`` for a root that is none.
    """

    def __init__(self, root: str, last: str) -> None:
        self._storage = GcsStorage(root)
        self._last = last

    def names(self) -> list[str]:
        """The names of all objects in the folder, in order.

        Raises ``LakeExistsError`` when an object has the name of the folder, or when another run
        is writing to it, and ``UsageError`` when there is no such bucket or it may not be listed.
        """
        names = self._listed()
        root = self._storage.root
        above, _, name = root.rpartition("/")
        if "/" in root.removeprefix(GCS_SCHEME) and GcsStorage(above).exists(name):
            raise LakeExistsError(f"{root} is an object, not a folder: choose another --output")
        if CLAIM in names and self._claim().is_taken():
            raise self._claimed()
        return [name for name in names if name != CLAIM]

    def read(self, name: str) -> bytes:
        """The content of an object."""
        return self._storage.read(name)

    def publish(
        self, files: Mapping[str, Path], last: bytes, check: Callable[[Sequence[str]], None]
    ) -> None:
        """Upload ``files`` by their names in the folder, delete all others, and put ``last``.

        ``check`` is asked once more, with the names that are there, when nobody else can write.
        A folder that was empty is empty again when this fails; another has no last object then.
        Raises ``LakeExistsError`` and ``LakeConflictError`` when another run writes there too,
        ``StorageError`` when the service fails.
        """
        claim = self._claim()
        if not claim.take():
            raise self._claimed()
        uploaded: Sequence[str] = []
        try:
            old = [name for name in self._listed() if name != CLAIM]
            check(old)
            if not old:
                uploaded = list(files)
            if self._last in old:
                self._storage.delete(self._last)
            each(self._upload, files.items(), at_once=AT_ONCE)
            gone = [name for name in old if name not in files and name != self._last]
            each(self._storage.delete, gone, at_once=AT_ONCE)
            claim.confirm()
            self._finish(last)
        except BaseException:
            # Of two failures the first is the one to tell of.
            with suppress(CelesError):
                if claim.holds():
                    each(self._storage.delete, uploaded, at_once=AT_ONCE)
                # The claim goes last: the names are those that the next run writes to.
                claim.release()
            raise
        claim.release()

    def _listed(self) -> list[str]:
        return [file.name for file in self._storage.list()]

    def _upload(self, item: tuple[str, Path]) -> None:
        name, path = item
        bucket, _, key = self._storage.uri(name).removeprefix(GCS_SCHEME).partition("/")
        deliver_file(path, bucket, key, crc32c=measure_file(path)[1])

    def _finish(self, last: bytes) -> None:
        if not self._storage.put_if_absent(self._last, last):
            raise LakeConflictError(
                f"{self._storage.uri(self._last)} was put there by another while this run wrote "
                "beside it: run again, alone"
            )

    def _claim(self) -> Claim:
        return Claim(self._storage.uri(CLAIM))

    def _claimed(self) -> LakeExistsError:
        claim = self._storage.uri(CLAIM)
        return LakeExistsError(
            f"{self._storage.root} is being written by another run; when that was killed, run "
            f"with -f {STALE_SECONDS / 60:g} minutes after it, or now, having deleted what it left "
            f"(gcloud storage rm {claim})"
        )


@contextmanager
def temporary_work_folder(name: str) -> Iterator[str]:
    """A folder of this machine to write in what goes to a bucket; removed at the end.

    Raises ``StorageError`` when it cannot be made.
    """
    place = Path(tempfile.gettempdir(), name)
    with ExitStack() as made:
        try:
            folder = made.enter_context(work_folder_beside(place))
        except OSError as error:
            raise StorageError(
                f"cannot write to {place.parent}: {error.strerror}; set TMPDIR to another folder"
            ) from error
        yield str(folder)
