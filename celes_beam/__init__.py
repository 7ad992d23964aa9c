"""Sales rows in, a committed Parquet lake out: columnar Apache Beam pipelines that lose nothing."""

__version__ = "0.1.0"
