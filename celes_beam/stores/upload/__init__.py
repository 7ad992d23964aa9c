"""Parquet files of this machine, sent to a bucket."""
