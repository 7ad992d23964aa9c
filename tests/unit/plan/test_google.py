"""Questions to Google's plain HTTP services, asked of a server that answers as their pages say."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from celes_beam.doctor.check import State
from celes_beam.errors import StorageError, UsageError
from celes_beam.plan.asked import Asked
from celes_beam.plan.google import Backlog, Google, Quota
from celes_beam.plan.job import Job
from celes_beam.plan.quotas import needs_of

SUBSCRIPTION = "projects/mi-tienda/subscriptions/ventas-celes-beam"
WORKER = "celes-worker@mi-tienda.iam.gserviceaccount.com"
JOB = Job(
    "streaming",
    project="mi-tienda",
    region="us-central1",
    machine_type="n2-standard-2",
    max_workers=5,
    service_account=WORKER,
)


class _Handler(BaseHTTPRequestHandler):
    granted: ClassVar[list[str]] = []
    backlog: ClassVar[list[str]] = []
    status: ClassVar[int] = 200

    def do_GET(self) -> None:
        if "/compute/" in self.path:
            assert self.path == "/compute/v1/projects/mi-tienda/regions/us-central1"
            quotas = [{"metric": "N2_CPUS", "usage": 20.0, "limit": 24.0}]
            self._answer({"quotas": quotas})
            return
        asked = parse_qs(urlsplit(self.path).query)
        assert 'subscription_id="ventas-celes-beam"' in asked["filter"][0]
        assert asked["interval.startTime"] < asked["interval.endTime"]
        oldest = "oldest_unacked" in asked["filter"][0]
        points = ["77", "99"] if oldest else self.backlog
        series = [{"points": [{"value": {"int64Value": one}} for one in points]}]
        self._answer({"timeSeries": series} if points else {})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        granted = [one for one in body["permissions"] if one in self.granted]
        self._answer({"permissions": granted} if granted else {})

    def _answer(self, content: dict[str, Any]) -> None:
        if self.status != 200:
            content = {"error": {"code": self.status, "message": "no such luck"}}
        data = json.dumps(content).encode()
        self.send_response(self.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def google(monkeypatch: pytest.MonkeyPatch) -> Iterator[Google]:
    granted = ["dataflow.jobs.create", "dataflow.jobs.get", "iam.serviceAccounts.actAs"]
    monkeypatch.setattr(_Handler, "granted", granted)
    monkeypatch.setattr(_Handler, "backlog", ["1200", "5"])
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    with requests.Session() as session:
        session.trust_env = False
        yield Google(session, compute=url, monitoring=url, projects=url, iam=url)
    server.shutdown()
    thread.join()
    server.server_close()


def test_everything_is_told(google: Google) -> None:
    asked = Asked(lambda: google)
    checks = {check.name: check for check in asked.about(JOB, SUBSCRIPTION)}
    assert {check.state for check in checks.values()} == {State.OK}
    assert asked.backlog == Backlog(1_200, 77)
    assert asked.quotas == {"N2_CPUS": Quota(20.0, 24.0)}
    cpus, disk = needs_of(JOB, asked.quotas, None, loads=False)
    assert (cpus.needed, cpus.exceeded) == (10, True)
    assert (disk.needed, disk.limit, disk.exceeded) == (150, None, False)


def test_rights_that_lack_are_named_with_the_role(
    google: Google, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Handler, "granted", ["dataflow.jobs.get"])
    checks = {check.name: check for check in Asked(lambda: google).about(JOB, None)}
    assert checks["launch"].state is State.FAILED
    assert "lacks dataflow.jobs.create in" in checks["launch"].said
    assert "roles/dataflow.developer" in checks["launch"].remedy
    assert checks["service account"].state is State.FAILED
    assert WORKER in checks["service account"].remedy


def test_a_backlog_that_nobody_counted_is_not_none(
    google: Google, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Handler, "backlog", [])
    asked = Asked(lambda: google)
    checks = {check.name: check for check in asked.about(JOB, SUBSCRIPTION)}
    assert asked.backlog is None
    assert checks["backlog"].state is State.NOT_CHECKED


@pytest.mark.parametrize(
    ("status", "kind"), [(403, UsageError), (404, UsageError), (503, StorageError)]
)
def test_refusals_are_errors_of_ours(
    google: Google, monkeypatch: pytest.MonkeyPatch, status: int, kind: type[Exception]
) -> None:
    monkeypatch.setattr(_Handler, "status", status)
    with pytest.raises(kind, match="no such luck"):
        google.quotas("mi-tienda", "us-central1")
    states = {check.state for check in Asked(lambda: google).about(JOB, SUBSCRIPTION)}
    assert states == {State.FAILED}
