"""Rejected rows on their way back: where they rest, which are taken, and each only once."""
