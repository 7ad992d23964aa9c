"""The file that Beam's --setup_file wants; everything it could say is in pyproject.toml."""

from setuptools import setup

setup()
