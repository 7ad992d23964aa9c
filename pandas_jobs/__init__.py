"""The same aggregation by pandas, in one process."""
