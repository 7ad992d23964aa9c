"""Local servers of Google Cloud for a measurement, which this process and its children find."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

if TYPE_CHECKING:
    from celes_beam.local.servers import Server


@contextmanager
def local_servers(folder: Path, *starts: Callable[[Path], Server]) -> Iterator[None]:
    """Run servers of ``celes_beam.local.servers`` while the body runs, with data in ``folder``."""
    with ExitStack() as stack:
        stack.enter_context(patch.dict(os.environ))
        for start in starts:
            server = start(folder)
            stack.callback(server.stop)
            os.environ.update(server.environment)
        yield
