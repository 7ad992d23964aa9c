"""Results of aggregates and sorting, the same for every engine."""
