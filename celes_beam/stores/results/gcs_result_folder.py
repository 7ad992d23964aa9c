"""A result that goes to a bucket: made on this machine, then uploaded, ``result.json`` last."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from celes_beam.errors import ConfigError, IntegrityError, StorageError
from celes_beam.stores.datasets.gcs_output import GcsOutput, temporary_work_folder
from celes_beam.stores.lake.gcs_storage import GcsStorage
from celes_beam.stores.results.result_folder import ResultFolder, is_hidden, is_result_name
from celes_beam.stores.results.results import RESULT_JSON, decode_result


@dataclass(frozen=True)
class GcsResultFolder(ResultFolder):
    """The folder of a bucket that is the ``--output`` of an aggregation."""

    @property
    def url(self) -> str:
        """The folder as ``gs://BUCKET/FOLDER``."""
        return GcsStorage(self.output or "").root

    def check(self, root: str, *, overwrite: bool) -> None:
        """Raise unless the folder may be written to, while ``root`` is being read.

        As for a folder on a disk; and ``UsageError`` when there is no such bucket, or it may not
        be listed.
        """
        url, lake = self.url + "/", root.rstrip("/") + "/"
        if lake.startswith(url):
            raise ConfigError(f"--output {self.output} holds the input: give another folder")
        if url.startswith(lake) and not is_hidden(PurePosixPath(url.removeprefix(lake))):
            raise ConfigError(
                f"--output {self.output} is inside the input, whose readers would take it for "
                "sales: give another folder"
            )
        try:
            self._check_names(self._folder().names(), overwrite=overwrite)
        except StorageError:
            # Another run takes the result away, and claims the folder before: so it is told now.
            self._check_names(self._folder().names(), overwrite=overwrite)

    @contextmanager
    def work_folder(self) -> Iterator[str]:
        """A temporary folder of this machine to work in; removed at the end with all in it."""
        with temporary_work_folder("aggregate") as folder:
            yield folder

    def _replace(self, finished: Path, *, overwrite: bool) -> None:
        files = {
            path.relative_to(finished).as_posix(): path
            for path in sorted(finished.rglob("*"))
            if path.is_file()
        }
        last = files.pop(RESULT_JSON).read_bytes()
        self._folder().publish(
            files, last, lambda names: self._check_names(names, overwrite=overwrite)
        )

    def _folder(self) -> GcsOutput:
        return GcsOutput(self.url, RESULT_JSON)

    def _check_names(self, names: Sequence[str], *, overwrite: bool) -> None:
        stranger = next((name for name in names if not is_result_name(name)), None)
        if stranger is None and RESULT_JSON in names:
            try:
                decode_result(self._folder().read(RESULT_JSON), f"{self.url}/{RESULT_JSON}")
            except IntegrityError:
                stranger = RESULT_JSON
        self._check_found(stranger, bool(names), overwrite=overwrite)
