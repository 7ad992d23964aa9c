"""A stand-in for two of Google's services on this machine: OAuth tokens, and Dataflow's REST API.

It takes every job and every launch of a template, keeps what was asked for, and does nothing else.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

PROJECT, REGION = "celes-dev", "us-central1"


@dataclass
class DataflowStandIn:
    """What was asked for: the path and the body of each request, in order."""

    url: str
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def only(self, part: str) -> dict[str, Any]:
        """The body of the one request whose path holds a text."""
        (body,) = (body for path, body in self.asked if part in path)
        return body


@contextmanager
def dataflow_stand_in() -> Iterator[DataflowStandIn]:
    """Run the stand-in on a free port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.path.endswith("/token"):
                self._answer({"access_token": "none", "expires_in": 3600, "token_type": "Bearer"})
                return
            body = json.loads(raw)
            it.asked.append((self.path, body))
            name = body.get("name") or body["launchParameter"]["jobName"]
            job = {
                "id": f"2026-11-24_00_00_00-{len(it.asked)}",
                "name": name,
                "projectId": PROJECT,
                "location": REGION,
                "currentState": "JOB_STATE_PENDING",
                "clientRequestId": body.get("clientRequestId", ""),
            }
            self._answer({"job": job} if "launchParameter" in body else job)

        def _answer(self, answer: dict[str, Any]) -> None:
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    it = DataflowStandIn(f"http://localhost:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield it
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def throwaway_key(folder: Path, token_server: str) -> Path:
    """Write the key of a service account that is valid nowhere but at the stand-in."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path = folder / "throwaway.json"
    path.write_text(
        json.dumps(
            {
                "type": "service_account",
                "project_id": PROJECT,
                "private_key_id": "none",
                "private_key": key.decode(),
                "client_email": f"launcher@{PROJECT}.iam.gserviceaccount.com",
                "client_id": "1",
                "token_uri": f"{token_server}/token",
            }
        )
    )
    return path
