"""A data set that goes to a bucket: written on this machine, then uploaded.

One file is one object, whole or not there. A folder is whole once ``_SUCCESS`` is in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from celes_beam.errors import LakeExistsError
from celes_beam.stores.cloud.clients import GCS_SCHEME
from celes_beam.stores.cloud.deliver import deliver_file
from celes_beam.stores.datasets.dataset import Shard, concatenate
from celes_beam.stores.datasets.dataset_target import (
    DatasetTarget,
    check_contents,
    is_shard_name,
)
from celes_beam.stores.datasets.gcs_output import GcsOutput, temporary_work_folder
from celes_beam.stores.lake.gcs_storage import GcsStorage
from celes_beam.stores.lake.measure import measure_file

SUCCESS = "_SUCCESS"
"""The object put last, by the name that other tools give it."""


@dataclass(frozen=True)
class GcsDatasetTarget(DatasetTarget):
    """The object or folder of a bucket that a data set is written to; ``path`` is BUCKET/NAME."""

    @classmethod
    def _locate(cls, output: str) -> tuple[Path, bool]:
        place = GcsStorage(output).root.removeprefix(GCS_SCHEME)
        return Path(place), output.endswith("/") or "/" not in place

    @property
    def output(self) -> str:
        """Its URL."""
        return GCS_SCHEME + self.path.as_posix()

    def check(self, *, overwrite: bool) -> None:
        """Raise ``LakeExistsError`` when something is there that must not be replaced.

        ``UsageError`` when there is no such bucket, or it may not be listed.
        """
        if not self.one_file:
            self._check_names(self._folder().names(), overwrite=overwrite)
            return
        above = GcsStorage(GCS_SCHEME + self.path.parent.as_posix())
        if next(above.list(self.path.name), None) is not None:
            raise LakeExistsError(
                f"{self.output} is a folder, not a file: choose another --output, or end its name "
                "with /"
            )
        if not overwrite and above.exists(self.path.name):
            raise LakeExistsError(
                f"{self.output} is there already: choose another --output, or replace it with -f"
            )

    @contextmanager
    def work_folder(self) -> Iterator[str]:
        """A temporary folder of this machine to write in; removed at the end with all in it."""
        with temporary_work_folder("generate") as folder:
            yield folder

    def _place(self, shards: Sequence[Shard], size: int, *, overwrite: bool) -> int:
        paths = [Path(shard.path) for shard in shards]
        if not self.one_file:
            self._folder().publish(
                {path.name: path for path in paths},
                b"",
                lambda names: self._check_names(names, overwrite=overwrite),
            )
            return size
        whole = paths[0]
        if len(paths) > 1:
            whole = paths[0].with_name("whole")
            size = concatenate([shard.path for shard in shards], str(whole))
        bucket, *names = self.path.parts
        deliver_file(
            whole, bucket, "/".join(names), crc32c=measure_file(whole)[1], if_absent=not overwrite
        )
        return size

    def _folder(self) -> GcsOutput:
        return GcsOutput(self.output, SUCCESS)

    def _check_names(self, names: Sequence[str], *, overwrite: bool) -> None:
        ours = [name for name in names if is_shard_name(name)]
        others = [name for name in names if name != SUCCESS and not is_shard_name(name)]
        check_contents(self.output, len(ours), others, overwrite=overwrite)
