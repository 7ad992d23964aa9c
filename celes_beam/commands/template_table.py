"""What a Flex Template shows of a pipeline's flags, beyond what argparse knows of them.

Every flag is in ``SHOWN`` or in ``LEFT_OUT``; ``template_metadata.py`` refuses one that is in none.
"""

from __future__ import annotations

from dataclasses import dataclass

from celes_beam.commands.pipeline_parsers import BATCH, REPLAY, STREAMING

BUCKET_PATH = r"gs://[^\s,]+"
TABLE = r"([a-z0-9.-]+:)?[a-z][a-z0-9-]+[:.]\w+\.[\w-]+"
WHOLE = r"[0-9_]+"
DURATION = r"[0-9.]+(s|m|h|d)?"
TEXTS = r"[^,]+(,[^,]+)*"
FUNCTION = r"[A-Za-z_][\w.]*:[A-Za-z_]\w*"


@dataclass(frozen=True)
class Shown:
    """How a parameter is shown: its label, its type (TEXT unless said), what it must match.

    ``told`` replaces the help of the flag. ``only_with`` names a parameter and the values of it
    with which this one means anything.
    """

    label: str
    kind: str = "TEXT"
    pattern: str | None = None
    told: str | None = None
    only_with: tuple[str, tuple[str, ...]] | None = None


_CSV = ("format", ("auto", "csv"))

SHOWN: dict[str, Shown] = {
    "again": Shown("Also what the same rules rejected", "BOOLEAN"),
    "bad_files": Shown(
        "Files that cannot be read",
        "ENUM",
        told="What to do about a file that is no sales, or damaged: fail the job, or take in the "
        "others and keep why in _rejected",
    ),
    "batch_rows": Shown("Rows in a shard", "NUMBER", WHOLE),
    "bigquery_location": Shown("Location of a new dataset", pattern=r"[A-Za-z0-9-]+"),
    "bigquery_table": Shown("BigQuery table", "BIGQUERY_TABLE", TABLE),
    "categories": Shown(
        "Accepted categories",
        pattern=TEXTS,
        told="Accepted categories, with commas between; those of files are all accepted without it",
    ),
    "columns": Shown("Headers by another name", pattern=r"\w+=[^,]+(, *\w+=[^,]+)*"),
    "csv_decimal": Shown("Decimal point of CSV files", "ENUM", only_with=_CSV),
    "csv_delimiter": Shown("Delimiter of CSV files", pattern=r"[ !#-~]|tab|\\t", only_with=_CSV),
    "csv_encoding": Shown("Encoding of CSV files", pattern=r"[\w.-]+", only_with=_CSV),
    "csv_header": Shown("Header line of CSV files", pattern=r".*\S.*"),
    "date_format": Shown("Form of dates", pattern=r".*(%[Yy]|[Yy]{2}|[Aa]{2}).*"),
    "dead_letter_topic": Shown(
        "Topic of rejected rows", "PUBSUB_TOPIC", r"projects/[^/]+/topics/[^/]+"
    ),
    "dedupe_minutes": Shown("Minutes that messages are remembered", "NUMBER", r"[0-9.]+"),
    "delivery": Shown("Delivery to BigQuery", "ENUM"),
    "fix": Shown(
        "Function that mends rows",
        pattern=FUNCTION,
        told="Function that gets the rows before they are judged, of a module that is in the image",
    ),
    "format": Shown("Format of the files", "ENUM"),
    "from": Shown(
        "Where rejected rows rest",
        pattern=rf"({BUCKET_PATH}|{TABLE})",
        told="A lake gs://BUCKET/FOLDER, or a table PROJECT:DATASET.TABLE or its "
        "<table>_rechazadas. Not a subscription: its messages are replayed on a machine of yours",
    ),
    "id_attribute": Shown("Attribute that identifies a message", pattern=r"[^\s,]+"),
    "if_exists": Shown("When the lake holds rows already", "ENUM"),
    "input": Shown(
        "Files to read",
        pattern=rf"{BUCKET_PATH}(, *{BUCKET_PATH})*",
        told="Files, folders or globs in buckets, with commas between; without it, sales are "
        "generated",
    ),
    "kms_key": Shown(
        "Key of new tables",
        "KMS_KEY_NAME",
        r"projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+",
    ),
    "lake_flush_seconds": Shown("Seconds in a commit of the lake", "NUMBER", r"[0-9.]+"),
    "live_lateness": Shown("Lateness of live windows", pattern=DURATION),
    "live_table": Shown("Table of live windows", pattern=r"[\w-]+"),
    "live_windows": Shown("Length of live windows", pattern=DURATION),
    "max_batch_rows": Shown("Most messages in a batch", "NUMBER", WHOLE),
    "max_batch_seconds": Shown("Seconds that a batch waits", "NUMBER", r"[0-9.]+"),
    "max_rejected": Shown(
        "Most rows rejected",
        pattern=r"[0-9]+|[0-9.]+%",
        told="Most rows that may be rejected, a number or a percentage of the rows read; beyond it "
        "nothing is committed, and the job fails",
    ),
    "output": Shown(
        "Lake", "GCS_WRITE_FOLDER", BUCKET_PATH, "Folder of the lake in a bucket: gs://BUCKET/…"
    ),
    "partition_by": Shown("Partition columns", pattern=r"[a-z_]+(,[a-z_]+)*"),
    "reason": Shown(
        "Only these reasons",
        pattern=r"[a-z_]+(, *[a-z_]+)*",
        told="Only rows rejected for one of these reasons, with commas between: {choices}",
    ),
    "regions": Shown(
        "Accepted regions",
        pattern=TEXTS,
        told="Accepted regions, with commas between; those of files are all accepted without it",
    ),
    "reprocess": Shown("Read inputs again", "BOOLEAN"),
    "rows": Shown("Rows to generate", "NUMBER", r"[0-9_]+(e[0-9]+)?"),
    "run": Shown(
        "Only of these commits",
        pattern=r"[\w.-]+(, *[\w.-]+)*",
        told="Only rows that these commits of the lake rejected, with commas between. Without it, "
        "rows that an overwrite has replaced are left out",
    ),
    "run_id": Shown("Name of the run", pattern=r"[A-Za-z0-9][\w.-]{0,99}"),
    "schema_drift": Shown("Fields that are no column", "ENUM"),
    "seed": Shown("Seed of generated sales", "NUMBER", WHOLE),
    "since": Shown("Rejected since", pattern=r"[0-9T:.+Z-]+"),
    "subscription": Shown(
        "Subscription to read", "PUBSUB_SUBSCRIPTION", r"projects/[^/]+/subscriptions/[^/]+"
    ),
    "target_file_mb": Shown("Size of a Parquet file, MB", "NUMBER", WHOLE),
    "transform": Shown(
        "Function on rows",
        pattern=FUNCTION,
        told="Function that gets each block of rows before it is checked, of a module that is in "
        "the image (docs/transform.md)",
    ),
    "until": Shown("Rejected before", pattern=r"[0-9T:.+Z-]+"),
}

REQUIRED: dict[str, tuple[str, ...]] = {
    BATCH: ("output",),
    STREAMING: ("subscription",),
    REPLAY: ("from",),
}

_ENDS = "a job of Dataflow is ended by draining it"
_HERE = "it is for a launch by hand: nobody reads it in the launcher of a template"
_FILE = "it names a file of the launcher's own disk"

LEFT_OUT: dict[str, dict[str, str]] = {
    BATCH: {
        "config": _FILE,
        "dry_run": _HERE,
        "idle_rounds": "it is for --watch",
        "progress": _HERE,
        "summary_json": _FILE,
        "watch": "a job ends, and the next is launched by a schedule",
        "watch_rounds": "it is for --watch",
    },
    STREAMING: {
        "config": _FILE,
        "deadline": _ENDS,
        "idle_timeout": _ENDS,
        "journal": "Dataflow's shuffle takes its place",
        "max_messages": _ENDS,
        "metrics_port": "Dataflow shows the figures",
        "progress": _HERE,
        "summary_json": _FILE,
        "topic": "a launcher that makes subscriptions needs more rights than any worker",
    },
    REPLAY: {
        "config": _FILE,
        "dead_letter_topic": "it is for a subscription",
        "dry_run": _HERE,
        "idle_timeout": "it is for a subscription",
        "max_messages": "it is for a subscription",
        "progress": _HERE,
        "summary_json": _FILE,
    },
}
