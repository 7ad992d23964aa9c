"""The same aggregation by Apache Spark."""
