"""The same images where no daemon can run: buildah builds and runs them, in a chroot."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.deploy.engine import NoEngineError, wait_for_port

INSTALL_BUILDAH = "apt-get install buildah, and be root"
_WORKER_POOL_PORT = 50_000
"""Beam's boot gives no choice of it."""


@dataclass(frozen=True)
class Buildah:
    """Runs buildah's commands on a store of its own."""

    program: str
    store: Path

    def run(self, *arguments: str, seconds: float = 600) -> str:
        """What a command prints; it must succeed."""
        ended = subprocess.run(
            self._line(*arguments),
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-3000:]
        return ended.stdout + ended.stderr

    def import_base(self, tar: Path, tag: str, path: str) -> None:
        """Make an image of a file system."""
        container = self.run("from", "--quiet", "scratch").strip()
        self.run("add", "--quiet", container, str(tar), "/")
        self.run("config", "--env", f"PATH={path}", container)
        self.run("commit", "--quiet", "--rm", container, tag)

    def build(
        self, tag: str, dockerfile: Path, context: Path, arguments: Mapping[str, str] | None = None
    ) -> str:
        """Build an image, with the network of this machine and no other base than ours."""
        given = [p for k, v in (arguments or {}).items() for p in ("--build-arg", f"{k}={v}")]
        return self.run(
            *("bud", "--pull-never", "--network", "host", "--tag", tag),
            *("--file", str(dockerfile), *given, str(context)),
        )

    def settings(self, image: str) -> dict[str, Any]:
        """The configuration of an image."""
        found = json.loads(self.run("inspect", "--type", "image", image))
        return dict(found["OCIv1"]["config"])

    def start(self, image: str, program: str, *arguments: str, files: Mapping[Path, str]) -> str:
        """Run a program of an image to its end; returns what it printed."""
        with self._container(image) as container:
            for here, there in files.items():
                self.run("copy", "--quiet", container, str(here), there)
            return self.run("run", "--network", "host", container, "--", program, *arguments)

    @contextmanager
    def workers(self, image: str) -> Iterator[list[str]]:
        """Run a pool of workers in an image; gives the flags with which Beam uses it."""
        with self._container(image) as container, (self.store / "workers.log").open("ab") as log:
            boot = ("/opt/apache/beam/boot", "--worker_pool")
            process = subprocess.Popen(
                self._line("run", "--network", "host", container, "--", *boot),
                env=self._environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            try:
                wait_for_port(_WORKER_POOL_PORT, process)
                place = f"127.0.0.1:{_WORKER_POOL_PORT}"
                yield ["--environment_type", "EXTERNAL", "--environment_config", place]
            finally:
                # buildah, and all that it has started: they are a group.
                os.killpg(process.pid, 15)
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, 9)
                    process.wait()

    @contextmanager
    def _container(self, image: str) -> Iterator[str]:
        container = self.run("from", "--quiet", "--pull-never", image).strip()
        try:
            yield container
        finally:
            self.run("rm", container)

    def _line(self, *arguments: str) -> list[str]:
        stores = ("--root", str(self.store / "root"), "--runroot", str(self.store / "run"))
        return [self.program, *stores, *arguments]

    @property
    def environment(self) -> dict[str, str]:
        """Clients need to know nothing."""
        return {}

    @property
    def _environment(self) -> dict[str, str]:
        return os.environ | {"BUILDAH_ISOLATION": "chroot", "STORAGE_DRIVER": "overlay"}


@contextmanager
def private_buildah() -> Iterator[Buildah]:
    """Buildah with a store that is gone afterwards. Raises ``NoEngineError`` without it."""
    program = shutil.which("buildah")
    if program is None or os.geteuid() != 0:
        raise NoEngineError(f"no buildah: {INSTALL_BUILDAH}")
    store = Path(tempfile.mkdtemp(prefix="celes-bh-"))
    buildah = Buildah(program, store)
    try:
        yield buildah
        buildah.run("rmi", "--all", "--force")
    finally:
        shutil.rmtree(store, ignore_errors=True)
