"""The Beam layer: thin transforms around the plain functions of ``sales`` and ``stores``."""
