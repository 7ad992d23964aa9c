"""What a file's name says about what it holds."""

from __future__ import annotations

from pathlib import PurePosixPath

from celes_beam.stores.inputs.read_options import CSV, NDJSON, PARQUET

COMPRESSED_SUFFIXES = (".gz", ".zst", ".zstd", ".bz2")
FORMAT_OF_SUFFIX = {
    ".csv": CSV,
    ".tsv": CSV,
    ".txt": CSV,
    ".ndjson": NDJSON,
    ".jsonl": NDJSON,
    ".json": NDJSON,
    ".parquet": PARQUET,
}


def format_of_name(path: str) -> str | None:
    """The format that a name's ending stands for, with or without a compression's behind it."""
    suffixes = [suffix.lower() for suffix in PurePosixPath(path).suffixes]
    if suffixes and suffixes[-1] in COMPRESSED_SUFFIXES:
        suffixes.pop()
    return FORMAT_OF_SUFFIX.get(suffixes[-1]) if suffixes else None
