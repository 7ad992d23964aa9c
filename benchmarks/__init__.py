"""Measurements of this project against others doing the same work; see ``docs/benchmarks.md``."""
