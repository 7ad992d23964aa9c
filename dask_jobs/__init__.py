"""The same aggregation by Dask."""
