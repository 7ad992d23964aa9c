"""The image of the repository's Dockerfile, built by a real engine on stand-ins of its base images.

Google's base images are not to be had without its registry. In their place is a minimal Debian with
Beam's real ``boot``, and a launcher that is a script: it runs the file that the image names.
"""

from __future__ import annotations

import functools
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.deploy.engine import Engine
from tests.tools import ROOT, missing

PARTS = ROOT / ".tools" / "image"
BASE, IMAGE = "localhost/stand-in:base", "localhost/celes-beam:test"
DEBIAN = "localhost/stand-in:debian"
_BASE = """\
FROM localhost/stand-in:debian
COPY boot /opt/apache/beam/boot
COPY python_template_launcher /opt/google/dataflow/python_template_launcher
"""
_LAUNCHER = '#!/bin/sh\nexec python "$FLEX_TEMPLATE_PYTHON_PY_FILE" "$@"\n'
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def need_parts() -> None:
    """What ``tools/image_parts.sh`` makes is here; without it CI fails, and others skip."""
    for part in ("base.tar", "boot", "wheelhouse/.lock"):
        if not (PARTS / part).exists():
            missing(f"{PARTS / part} is missing: tools/image_parts.sh makes it")


def build_base(engine: Engine, folder: Path) -> None:
    """Make the stand-in of both base images."""
    engine.import_base(PARTS / "base.tar", DEBIAN, _PATH)
    folder.mkdir()
    shutil.copy(PARTS / "boot", folder / "boot")
    launcher = folder / "python_template_launcher"
    launcher.write_text(_LAUNCHER)
    launcher.chmod(0o755)
    (folder / "Dockerfile").write_text(_BASE)
    engine.build(BASE, folder / "Dockerfile", folder)


def build_image(engine: Engine) -> str:
    """Build the repository's own Dockerfile, as it is; returns what the engine said."""
    with packages_served() as url:
        arguments = {
            "SDK_IMAGE": BASE,
            "LAUNCHER_IMAGE": BASE,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": url,
            "VERSION": "0.1.0",
            "REVISION": "0123abc",
            "SOURCE_DATE_EPOCH": "1700000000",
        }
        return engine.build(IMAGE, ROOT / "Dockerfile.flex", ROOT, arguments)


def derive(engine: Engine, tag: str, folder: Path, lines: str) -> str:
    """Make an image from ours with a few more lines; returns its name."""
    folder.mkdir()
    (folder / "Dockerfile").write_text(f"FROM {IMAGE}\n{lines}\n")
    engine.build(tag, folder / "Dockerfile", folder)
    return tag


@contextmanager
def packages_served() -> Iterator[str]:
    """Serve the locked packages to a build, on this machine alone."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            """Nothing."""

    handler = functools.partial(Handler, directory=str(PARTS / "wheelhouse"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
