"""Write a report to a file."""

from __future__ import annotations

from pathlib import Path

from celes_beam.report.content import Content
from celes_beam.report.page import render
from celes_beam.stores.datasets.dataset import appearing


def write_report(path: str, content: Content, language: str) -> int:
    """Write the page of a report, in place of what is there; returns its bytes.

    Raises ``MissingProgramError`` without the extra ``[report]``, and ``StorageError`` when the
    disk refuses.
    """
    page = render(content, language).encode()
    with appearing(Path(path)) as file:
        file.write(page)
    return len(page)
