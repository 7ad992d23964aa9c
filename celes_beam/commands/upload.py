"""``celes-beam upload``: Parquet files, a folder of them or a lake's, to a bucket.

Google's clients and rich are imported where they are used, so that ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import uuid
from typing import TYPE_CHECKING, Any

from celes_beam.commands.flag_values import positive_int
from celes_beam.commands.flags import FlagParser, add_report_flags

if TYPE_CHECKING:
    from celes_beam.stores.upload.upload import Uploaded

_BYTES_PER_MB = 1_000_000
_MOST_WORKERS = 256
_SHOWN = 20
_DESCRIPTION = """\
Send a Parquet file, a folder of them or the files of a lake to a bucket of Cloud Storage.

Of a folder everything named *.parquet is sent, with its folders, except what begins with _ or a
dot. Of a lake the files of its committed state are sent: they are a plain data set there, not a
lake. A bucket that is missing is made private: uniform access, public access prevention. What is
there with the same content is not sent again, so an upload that was cut short is simply run again.
"""


def add_upload_command(groups: argparse._SubParsersAction[Any]) -> None:
    """Add ``upload`` to the command line."""
    command: FlagParser = groups.add_parser(
        "upload",
        help="send Parquet files, or a lake's, to a private bucket",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.add_argument("path", metavar="PATH", help="a Parquet file, a folder or a lake")
    command.add_argument(
        "--bucket", "-n", required=True, metavar="BUCKET", help="bucket; made if it is missing"
    )
    command.add_argument(
        "--prefix",
        "-p",
        default="",
        metavar="FOLDER",
        help="goes before the names of objects, such as ventas/2024 (default: none)",
    )
    command.add_argument(
        "--workers",
        "-w",
        type=positive_int("--workers"),
        default=8,
        metavar="N",
        help="files sent at once (default: %(default)s)",
    )
    command.add_argument(
        "--if_exists",
        choices=("skip", "error", "overwrite"),
        default="skip",
        help="objects of the same names: skip those with the same content and replace those that "
        "differ; stop before anything is sent when one differs; or send all again, which also "
        "encrypts them with another --kms_key (default: %(default)s)",
    )
    command.add_argument(
        "--location",
        metavar="L",
        help="where a new bucket is made, such as EU or us-central1 (default: where --kms_key is, "
        "or else Google's choice, US)",
    )
    command.add_argument(
        "--kms_key",
        metavar="KEY",
        help="key of Cloud KMS that encrypts what is sent, and is the default of a new bucket: "
        "projects/P/locations/L/keyRings/R/cryptoKeys/K",
    )
    command.add_argument(
        "--project", metavar="P", help="project of a new bucket (default: gcloud's)"
    )
    command.add_argument(
        "--allow_public",
        action="store_true",
        help="upload to a bucket even if everybody may read it",
    )
    command.add_argument(
        "--dry_run", action="store_true", help="say what would be made and sent, and stop"
    )
    add_report_flags(command)
    command.set_defaults(run=_upload)


def _upload(flags: argparse.Namespace) -> int:
    from celes_beam.commands.console import (  # noqa: PLC0415
        check_json_target,
        console_for,
        write_json,
    )
    from celes_beam.commands.progress import BYTES, meter, watch  # noqa: PLC0415
    from celes_beam.errors import ConfigError  # noqa: PLC0415
    from celes_beam.stores.upload.upload import Destination, prepare  # noqa: PLC0415

    if flags.workers > _MOST_WORKERS:
        raise ConfigError(f"--workers {flags.workers}: expected at most {_MOST_WORKERS}")
    check_json_target(flags.summary_json, flags.path)
    to = Destination(
        bucket=flags.bucket,
        prefix=flags.prefix,
        workers=flags.workers,
        if_exists=flags.if_exists,
        location=flags.location,
        kms_key=flags.kms_key,
        project=flags.project,
        allow_public=flags.allow_public,
    )
    prepared = prepare(flags.path, to)
    name = f"upload-{uuid.uuid4().hex}"
    count = meter(name)
    with watch(name, prepared.bytes, mode=flags.progress, unit=BYTES):
        done = prepared.run(dry_run=flags.dry_run, on_bytes=lambda size: count.add(done=size))
    for note in done.notes:
        print(f"note: {note}", file=sys.stderr)
    _print(done, console_for(sys.stdout), dry_run=flags.dry_run)
    if flags.summary_json:
        write_json(flags.summary_json, to_dict(done, dry_run=flags.dry_run))
    return 0


def to_dict(done: Uploaded, *, dry_run: bool) -> dict[str, Any]:
    """An upload as JSON holds it; sizes in bytes."""
    to, plan = done.destination, done.plan
    return {
        "source": done.sources.path,
        "bucket": to.bucket,
        "prefix": to.prefix,
        "dry_run": dry_run,
        "made_bucket": done.made_bucket and not dry_run,
        "files": len(done.sources.files),
        "same": len(plan.same),
        "to_send": len(plan.send),
        "to_replace": plan.replaced,
        "sent": len(done.sent),
        "sent_bytes": sum(one.size for one in done.sent),
        "seconds": round(done.seconds, 3),
        "objects": [
            {"name": o.name, "size": o.size, "crc32c": o.crc32c, "generation": str(o.generation)}
            for o in done.sent
        ],
        "notes": list(done.notes),
    }


def _print(done: Uploaded, console: Any, *, dry_run: bool) -> None:
    from rich.markup import escape  # noqa: PLC0415 - slow to import: not for --help

    from celes_beam.commands.console import facts_table, print_next_steps  # noqa: PLC0415

    plan = done.plan
    facts = facts_table()
    facts.add_row("files", f"{len(done.sources.files):,}")
    facts.add_row("there already", f"{len(plan.same):,}")
    would = "would be " if dry_run else ""
    facts.add_row(f"{would}sent", f"{len(plan.send):,}")
    facts.add_row("of these replaced", f"{plan.replaced:,}")
    facts.add_row("size sent", f"{plan.bytes / _BYTES_PER_MB:,.1f} MB")
    if done.sent:
        facts.add_row("time", f"{done.seconds:,.2f} s")
        speed = plan.bytes / _BYTES_PER_MB / max(done.seconds, 1e-9)
        facts.add_row("speed", f"{speed:,.1f} MB/s")
    if done.made_bucket:
        where = f" in {done.destination.location}" if done.destination.location else ""
        console.print(
            f"Bucket gs://{done.destination.bucket} {'would be' if dry_run else 'was'} made, "
            f"private{escape(where)}."
        )
    console.print(facts)
    if dry_run:
        for transfer in plan.send[:_SHOWN]:
            kind = "replace" if transfer.generation else "send"
            line = f"  {kind} {transfer.name} ({transfer.file.size / _BYTES_PER_MB:,.1f} MB)"
            console.print(line, soft_wrap=True, highlight=False, markup=False)
        if plan.send[_SHOWN:]:
            console.print(f"  … and {len(plan.send) - _SHOWN:,} more")
        return
    console.print(f"Uploaded to [bold]{escape(done.url)}[/]", soft_wrap=True)
    target = shlex.quote(done.url)
    print_next_steps(console, [f"python -m pipelines.aggregate --input {target}"])
