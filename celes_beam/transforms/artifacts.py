"""What Beam sends to workers with a job: gathered in a folder that goes once it is sent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory

from apache_beam.transforms.environments import python_sdk_dependencies


@contextmanager
def artifacts_gathered() -> Iterator[None]:
    """Hand a job over in the body.

    Beam makes a folder for each environment of a pipeline, two a run, and deletes none; it has no
    setting for it.
    """
    with TemporaryDirectory(prefix="celes-beam-") as folder:
        python_sdk_dependencies.__defaults__ = (folder,)
        try:
            yield
        finally:
            python_sdk_dependencies.__defaults__ = (None,)
