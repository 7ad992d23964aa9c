"""``celes-beam lake``: list, show, verify, compact, and the history of a lake.

Arrow and rich are imported where they are used, so that ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celes_beam.commands.flags import add_warehouse_flags
from celes_beam.commands.lake_print import (
    as_mb,
    barren,
    moment,
    print_json,
    print_run,
    print_table,
    step_json,
)
from celes_beam.errors import LakeConflictError, UsageError

if TYPE_CHECKING:
    from celes_beam.stores.lake.commits import Commits
    from celes_beam.stores.lake.lake import Lake

_BYTES_PER_FILE_MB = 2**20
_MOST_FILE_MB = 1_000_000


def add_lake_commands(groups: argparse._SubParsersAction[Any]) -> None:
    """Add ``lake`` and its subcommands to the command line."""
    lake = groups.add_parser("lake", help="look into a lake, check it, compact it")
    commands = lake.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(name: str, run: Callable[[argparse.Namespace], int], help_: str) -> Any:
        command = commands.add_parser(name, help=help_, description=f"{help_}.", allow_abbrev=False)
        if name == "show":
            command.add_argument("run_id", metavar="RUN", help="run id, as 'lake ls' shows it")
        command.add_argument("root", metavar="ROOT", help="folder of the lake")
        command.add_argument("--json", action="store_true", help="print JSON, for programs")
        command.set_defaults(run=run)
        return command

    add("ls", _ls, "list the runs of a lake, with their rows, files and bytes")
    add("show", _show, "show one run: its inputs, files, counts and rejected rows")
    add("verify", _verify, "read every file again and compare it with the commit that made it")
    compact = add("compact", _compact, "merge the small files of each partition")
    compact.add_argument(
        "--target_file_mb",
        type=float,
        default=128.0,
        metavar="MB",
        help="merge files of at most half of this size up to about this size (default: 128)",
    )
    load = add("load", _load, "load what a table of BigQuery lacks of a lake's rows")
    add_warehouse_flags(load)
    load.add_argument(
        "--if_exists",
        choices=("error", "append"),
        default="error",
        help="when the table holds rows that are not of this lake: stop, or add to them "
        "(default: %(default)s)",
    )
    add("history", _history, "tell what each run read, added and retired, in order")


def _ls(flags: argparse.Namespace) -> int:
    from celes_beam.stores.lake.history import history  # noqa: PLC0415

    _, commits = _open(flags.root)
    steps = history(commits)
    superseded = sorted(commits.superseded.values(), key=lambda s: s.decided_at)
    if flags.json:
        gone = [{"run_id": s.run_id, "superseded_by": s.by} for s in superseded]
        return print_json({"runs": [step_json(s) for s in steps], "superseded": gone})
    rows: list[tuple[str, ...]] = [
        (
            step.manifest.run_id,
            step.manifest.kind,
            moment(step.manifest.decided_at),
            f"{step.manifest.rows:,}",
            f"{len(step.manifest.files):,}",
            as_mb(step.manifest.bytes),
            step.state,
        )
        for step in steps
    ]
    rows += [
        (s.run_id, "", moment(s.decided_at), "", "", "", f"superseded by {s.by}")
        for s in superseded
    ]
    last = steps[-1] if steps else None
    held = (
        f"{last.rows_after:,} rows in {last.files_after:,} files, {as_mb(last.bytes_after)} MB, "
        f"total {last.total_after:,.2f}"
        if last
        else "no rows"
    )
    print_table(f"{flags.root}: {held}", "run kind when >rows >files >MB state", rows)
    return 0


def _show(flags: argparse.Namespace) -> int:
    from celes_beam.stores.lake.commit import COMMITS  # noqa: PLC0415
    from celes_beam.stores.lake.history import history  # noqa: PLC0415
    from celes_beam.stores.lake.manifest import encode  # noqa: PLC0415

    a_lake = "://" in flags.run_id or Path(flags.run_id, COMMITS).is_dir()
    if a_lake and not Path(flags.root, COMMITS).is_dir():
        raise UsageError(
            f"the run comes before the lake: celes-beam lake show {flags.root} {flags.run_id}"
        )
    _, commits = _open(flags.root)
    steps = {s.manifest.run_id: s for s in history(commits)}
    step = steps.get(flags.run_id)
    if step is None:
        raise _no_such_run(flags.run_id, flags.root, commits)
    if flags.json:
        print(encode(step.manifest).decode())
        return 0
    print_run(step)
    return 0


def _verify(flags: argparse.Namespace) -> int:
    from celes_beam.stores.lake.verify import verify  # noqa: PLC0415

    lake, _ = _open(flags.root)
    found = verify(lake)
    if flags.json:
        print_json(
            {
                "files": found.files,
                "rows": found.rows,
                "bytes": found.bytes,
                "rejected_rows": found.rejected_rows,
                "problems": list(found.problems),
                "unread": list(found.unread),
                "notes": list(found.notes),
            }
        )
        return 1 if found.problems or found.unread else 0
    row = (
        f"{found.files:,}",
        f"{found.rows:,}",
        as_mb(found.bytes),
        f"{found.rejected_rows:,}",
        f"{len(found.problems):,}" if found.problems else "none",
    )
    print_table(f"{flags.root}", ">files >rows >MB >rejected_rows >problems", [row])
    for note in found.notes:
        print(f"note: {note}")
    for problem in found.problems:
        print(f"problem: {problem}")
    for file in found.unread:
        print(f"not checked: {file}")
    return 1 if found.problems or found.unread else 0


def _compact(flags: argparse.Namespace) -> int:
    from celes_beam.stores.lake.compact import compact  # noqa: PLC0415

    lake, _ = _open(flags.root)
    if not 0 < flags.target_file_mb <= _MOST_FILE_MB:
        raise UsageError(
            f"--target_file_mb {flags.target_file_mb}: expected more than 0, and at most "
            f"{_MOST_FILE_MB:,}"
        )
    manifest = compact(lake, target_bytes=int(flags.target_file_mb * _BYTES_PER_FILE_MB))
    if flags.json:
        merged = (
            (len(manifest.retired), len(manifest.files), manifest.rows) if manifest else (0, 0, 0)
        )
        names = ("files_before", "files_after", "rows")
        run_id = manifest.run_id if manifest else None
        return print_json({"run_id": run_id, **dict(zip(names, merged, strict=True))})
    if manifest is None:
        print(f"{flags.root}: nothing to merge, no partition has two small files")
        return 0
    before = {f.path: f.bytes for m in lake.runs() for f in m.files}
    print(
        f"{flags.root}: merged {len(manifest.retired):,} files "
        f"({as_mb(sum(before[p] for p in manifest.retired))} MB) into {len(manifest.files):,} "
        f"({as_mb(manifest.bytes)} MB), {manifest.rows:,} rows, in {manifest.seconds:.1f} s"
    )
    return 0


def _load(flags: argparse.Namespace) -> int:
    from celes_beam.commands.console import console_for  # noqa: PLC0415
    from celes_beam.commands.warehouse_options import destination  # noqa: PLC0415
    from celes_beam.commands.warehouse_report import DryRun, print_loaded  # noqa: PLC0415
    from celes_beam.stores.warehouse.warehouse import Warehouse  # noqa: PLC0415

    table = destination(flags)
    if table is None:
        raise UsageError("--bigquery_table is missing: give PROJECT:DATASET.TABLE")
    lake, _ = _open(flags.root, publish=not flags.dry_run)
    warehouse = Warehouse(table, lake)
    console = console_for(sys.stdout)
    if flags.dry_run:
        told = DryRun(table, *warehouse.pending(), flags.root)
        if flags.json:
            return print_json(told.to_dict())
        told.print(console)
        return 0
    warehouse.prepare(if_exists=flags.if_exists)
    loaded = warehouse.load()
    if flags.json:
        return print_json(loaded.to_dict())
    print_loaded(console, loaded)
    return 0


def _history(flags: argparse.Namespace) -> int:
    from celes_beam.stores.lake.history import history  # noqa: PLC0415

    _, commits = _open(flags.root)
    steps = history(commits)
    if flags.json:
        return print_json([step_json(s) for s in steps])
    rows = [
        (
            moment(s.manifest.decided_at),
            s.manifest.run_id,
            s.manifest.kind,
            s.origin,
            f"+{s.manifest.rows:,}",
            f"-{s.rows_retired:,}" if s.rows_retired else "",
            f"{s.rows_after:,}",
            f"{s.total_after:,.2f}",
        )
        for s in steps
    ]
    print_table(flags.root, "when run kind from >added >retired >rows >total", rows)
    for step in steps:
        if step.manifest.barren_inputs:
            print(
                f"note: run {step.manifest.run_id} accepted nothing of {barren(step.manifest)}: "
                f"'celes-beam lake show {step.manifest.run_id} {flags.root}' tells why"
            )
    return 0


def _open(root: str, *, publish: bool = True) -> tuple[Lake, Commits]:
    from celes_beam.stores.lake.commit import CommitLog  # noqa: PLC0415
    from celes_beam.stores.lake.lake import Lake  # noqa: PLC0415

    lake = Lake.open(root)
    commits = lake.commits() if publish else CommitLog(lake.storage).load()
    if not commits.manifests and not commits.superseded:
        raise UsageError(
            f"{root} holds no lake: expected a folder with commits in {root}/_commits; make one "
            f"with python -m pipelines.batch --output {root}"
        )
    return lake, commits


def _no_such_run(run_id: str, root: str, commits: Commits) -> Exception:
    from celes_beam.stores.lake.commit import conflict  # noqa: PLC0415

    if run_id in commits.superseded:
        return LakeConflictError(str(conflict(commits.superseded[run_id])))
    run_ids = [m.run_id for m in commits.manifests]
    near = difflib.get_close_matches(run_id, run_ids, n=1)
    hint = f"perhaps {near[0]}" if near else f"'celes-beam lake ls {root}' lists its runs"
    return UsageError(f"{root} has no run {run_id}; {hint}")
