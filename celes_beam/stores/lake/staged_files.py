"""Whether what a draft says was staged is there, whole, and belongs where the draft says."""

from __future__ import annotations

from celes_beam.stores.lake.commit import REJECTED, REPLAYED
from celes_beam.stores.lake.commits import Commits
from celes_beam.stores.lake.manifest import DataFile, Manifest, RejectedFile, ReplayedFile
from celes_beam.stores.lake.stored import StoredFile


def staging_problems(listed: list[StoredFile], commits: Commits, draft: Manifest) -> list[str]:
    """A line for each file that is not as described, or whose place is taken or none."""
    staged = {f.name: f for f in listed}
    made = commits.made_among(f.path for f in draft.files)
    problems = []
    for file in draft.all_files:
        found = staged.get(f"{draft.staging}/{file.staged}")
        if found is None:
            problems.append(f"{draft.staging}/{file.staged} was staged, and is gone")
        elif found.size != file.bytes:
            problems.append(
                f"{draft.staging}/{file.staged} was staged with {file.bytes:,} bytes, and has "
                f"{found.size:,}"
            )
        elif found.crc32c not in (None, file.crc32c):
            problems.append(
                f"{draft.staging}/{file.staged} was staged with the checksum {file.crc32c}, "
                f"and has {found.crc32c}"
            )
        if file.path in made:
            problems.append(f"{file.path} was used by an earlier commit")
        if not _is_in_place(draft.run_id, file):
            problems.append(f"{file.path} is not where readers look for it")
    return problems


def _is_in_place(run_id: str, file: DataFile | RejectedFile | ReplayedFile) -> bool:
    for kind, folder in ((RejectedFile, REJECTED), (ReplayedFile, REPLAYED)):
        if isinstance(file, kind):
            return file.path.startswith(f"{folder}/{run_id}/")
    return _visible(file.path)


def _visible(name: str) -> bool:
    return not any(part.startswith(("_", ".")) or not part for part in name.split("/"))
