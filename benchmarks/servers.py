"""Local servers of Google Cloud for a measurement, which this process and its children find."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self
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


class Renewed:
    """A server that is started anew by ``renew``; a context manager, which begins without one.

    Google's Pub/Sub emulator keeps all that it ever had in memory, about 1 KB a message: after some
    millions it stands still for seconds at a time, and pulls are answered when nobody waits.
    """

    def __init__(self, folder: Path, start: Callable[[Path], Server]) -> None:
        self._folder = folder
        self._start = start
        self._server = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()

    def renew(self) -> None:
        """Stop the server and start another one; its data are gone."""
        self._server.close()
        self._server.enter_context(local_servers(self._folder, self._start))
