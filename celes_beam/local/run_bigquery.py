"""``python -m celes_beam.local.run_bigquery``: bqemulator, with its DuckDB extensions installed.

The packages carry the extensions, so that nothing is downloaded when the server starts.
"""

from __future__ import annotations


def main() -> None:
    """Install the extensions where they are missing, then become bqemulator."""
    from bqemulator.cli import main as bqemulator  # noqa: PLC0415 - slow: the work of this process
    from duckdb_extensions import import_extension  # noqa: PLC0415

    for name in ("spatial", "avro"):
        import_extension(name)
    bqemulator()


if __name__ == "__main__":
    main()
