"""BigQuery: the rows of a lake as a table, loaded from the very files committed."""
