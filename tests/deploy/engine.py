"""Container engines of a test's own: dockerd on a private socket, gone with all it made at the end.

It has no network of its own: what it builds and runs has that of this machine.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

INSTALL_ENGINE = "apt-get install docker.io, and be root"
_START_SECONDS = 30
_STORAGE = ("overlay2", "vfs")
"""The first is quick; the second works on top of another overlay, too, as in a container."""


class Engine(Protocol):
    """What builds images and runs what is in them."""

    @property
    def environment(self) -> Mapping[str, str]: ...

    def import_base(self, tar: Path, tag: str, path: str) -> None: ...

    def build(
        self, tag: str, dockerfile: Path, context: Path, arguments: Mapping[str, str] | None = None
    ) -> str: ...

    def settings(self, image: str) -> dict[str, Any]: ...

    def start(
        self, image: str, program: str, *arguments: str, files: Mapping[Path, str]
    ) -> str: ...

    def workers(self, image: str) -> AbstractContextManager[list[str]]: ...


class NoEngineError(Exception):
    """No daemon can run here; the text says why."""


@dataclass(frozen=True)
class Docker:
    """Runs docker's commands against one daemon."""

    docker: str
    address: Path

    @property
    def environment(self) -> dict[str, str]:
        """What makes clients talk to this daemon."""
        return {"DOCKER_HOST": f"unix://{self.address}", "DOCKER_BUILDKIT": "0"}

    def run(self, *arguments: str, ok: bool = True, seconds: float = 300) -> str:
        """What a command prints; it must succeed, unless ``ok`` is false."""
        ended = subprocess.run(
            [self.docker, *arguments],
            env=os.environ | self.environment,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert not ok or ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-3000:]
        return ended.stdout + ended.stderr

    def build(
        self, tag: str, dockerfile: Path, context: Path, arguments: Mapping[str, str] | None = None
    ) -> str:
        """Build an image, with the network of this machine and no other base than ours."""
        given = [p for k, v in (arguments or {}).items() for p in ("--build-arg", f"{k}={v}")]
        return self.run(
            *("build", "--network", "host", "--pull=false", "--tag", tag),
            *("--file", str(dockerfile), *given, str(context)),
            seconds=600,
        )

    def import_base(self, tar: Path, tag: str, path: str) -> None:
        """Make an image of a file system."""
        self.run("import", "--change", f"ENV PATH={path}", str(tar), tag)

    def settings(self, image: str) -> dict[str, Any]:
        """The configuration of an image."""
        (found,) = json.loads(self.run("image", "inspect", image))
        return dict(found["Config"])

    def start(self, image: str, program: str, *arguments: str, files: Mapping[Path, str]) -> str:
        """Run a program of an image to its end; returns what it printed."""
        volumes = [part for k, v in files.items() for part in ("--volume", f"{k}:{v}:ro")]
        place = ("--network", "host", "--entrypoint", program)
        return self.run("run", "--rm", *place, *volumes, image, *arguments)

    @contextmanager
    def workers(self, image: str) -> Iterator[list[str]]:
        """The flags with which Beam starts workers of an image by itself."""
        yield ["--environment_type", "DOCKER", "--environment_config", image]


@contextmanager
def private_docker() -> Iterator[Docker]:
    """Start a daemon; it, its containers and its images are gone afterwards.

    Raises ``NoEngineError`` where none can run.
    """
    docker, daemon = shutil.which("docker"), shutil.which("dockerd")
    if docker is None or daemon is None or os.geteuid() != 0:
        raise NoEngineError(f"no container engine: {INSTALL_ENGINE}")
    # Sockets have short names.
    folder = Path(tempfile.mkdtemp(prefix="celes-dk-"))
    engine = Docker(docker, folder / "socket")
    process = None
    try:
        said = ""
        for storage in _STORAGE:
            process = _start(daemon, engine, folder, storage)
            if _answers(engine, process):
                break
            _end(process)
            process, said = None, (folder / "log").read_text()[-1500:]
        if process is None:
            raise NoEngineError(f"dockerd does not start: {said}")
        yield engine
        left = engine.run("ps", "--all", "--quiet").split()
        if left:
            engine.run("rm", "--force", *left)
    finally:
        if process is not None:
            _end(process)
        # The daemon leaves its network mounted there.
        for mounted in (folder / "exec" / "netns").glob("*"):
            subprocess.run(["umount", str(mounted)], capture_output=True, check=False)
        shutil.rmtree(folder, ignore_errors=True)


def _start(daemon: str, engine: Docker, folder: Path, storage: str) -> subprocess.Popen[bytes]:
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            [
                daemon,
                *("--data-root", str(folder / storage), "--exec-root", str(folder / "exec")),
                *("--pidfile", str(folder / "pid"), "--host", f"unix://{engine.address}"),
                *("--iptables=false", "--ip6tables=false", "--bridge=none"),
                *("--storage-driver", storage),
            ],
            # Settings of a proxy, or of another engine, are not for this one.
            env={"PATH": os.environ["PATH"], "HOME": str(folder)},
            stdout=log,
            stderr=log,
        )


def _answers(engine: Docker, process: subprocess.Popen[bytes]) -> bool:
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        asked = [engine.docker, "version", "--format", "{{.Server.Version}}"]
        found = subprocess.run(
            asked, env=os.environ | engine.environment, capture_output=True, check=False
        )
        if found.returncode == 0:
            return True
        time.sleep(0.1)
    return False


def wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until something listens on a port of this machine; fails when the process ends."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, f"ended with code {process.returncode}"
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError(f"nothing listens on port {port}")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
