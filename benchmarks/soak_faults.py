"""``python -m benchmarks.soak_faults``: everything at once, for an hour, under kills and faults.

Local servers of its own, behind proxies that drop, reset, cut and refuse. Through them sales are
published and streamed exactly once into BigQuery and a lake; files arrive in a bucket and are
watched into another table and lake; lakes are compacted, verified and queried; and all but the
publisher is killed again and again. Then the faults stop. Fails when what was sent is not what is
everywhere, to the cent, or when any answer meanwhile could not have been right.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.soak_faults_run import Soak

if TYPE_CHECKING:
    from benchmarks.soak_checks import Check
    from celes_beam.local.servers import Server


def main() -> int:
    """Run as the command line asks; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak_faults", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=1, help="of all chances; default: %(default)s")
    parser.add_argument("--rate", type=float, default=300.0, help="messages a second")
    parser.add_argument(
        "--fault_share", type=float, default=0.006, help="of requests, for each kind of fault"
    )
    parser.add_argument("--keep", type=Path, help="folder to work in, which is kept")
    parser.add_argument("--output", type=Path, default=Path("soak_faults.json"), help="report")
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="celes-soak-") as name:
        report = _soak(flags.keep or Path(name), flags)
    flags.output.write_text(json.dumps(report, indent=2, default=str) + "\n")
    for problem in report["problems"]:
        print(f"FAILED  {problem}")
    print(f"report in {flags.output}", flush=True)
    return 1 if report["problems"] else 0


def _soak(folder: Path, flags: argparse.Namespace) -> dict[str, Any]:
    from benchmarks.servers import local_servers  # noqa: PLC0415
    from celes_beam.local.servers import (  # noqa: PLC0415
        start_bigquery,
        start_pubsub,
        start_storage,
    )

    servers: dict[str, Server] = {}

    def noted(start: Any) -> Any:
        def started(where: Path) -> Server:
            server: Server = start(where)
            servers[server.service] = server
            return server

        return started

    starts = map(noted, (start_storage, start_bigquery, start_pubsub))
    print(f"load average {os.getloadavg()[0]:.1f}; in {folder}", flush=True)
    with local_servers(folder, *starts), Soak(folder, servers, flags) as soak:
        soak.run(flags.minutes * 60)
        soak.drain()
        checks = soak.checks()
        soak.tell(flags.minutes * 60)
        return _report(soak, checks, flags)


def _report(soak: Soak, checks: list[Check], flags: argparse.Namespace) -> dict[str, Any]:
    for check in checks:
        found = check.found if len(str(check.found)) < 120 else "as sent" if check.holds else "…"
        print(f"{'ok' if check.holds else 'NOT SO':<7} {check.what}: {found}")
        if not check.holds:
            said = f"{check.found}, expected {check.expected}"
            soak.problems.append(f"{check.what}: {said[:2_000]}")
    sent = soak.publisher.sent
    return {
        "minutes": flags.minutes,
        "seed": flags.seed,
        "rows_published": sum(s.rows for s in sent),
        "messages_published": sum(s.messages for s in sent),
        "copies": sum(s.copies for s in sent),
        "files": soak.landing.files,
        "files_bad": len(soak.landing.bad),
        "rows_of_files": soak.landing.expected.accepted,
        "kills": soak.losses.kills,
        "gave_up": soak.losses.gave_up,
        "last_words": soak.losses.said,
        "faults": soak.network.happened,
        "requests": soak.network.requests,
        "outages": soak.network.outages,
        "looks": {
            **{look.root: look.looks for look in soak.lakes},
            **{str(look.table): look.looks for look in soak.tables},
        },
        "errands": {e.command.log.stem: e.times for e in soak.errands},
        "load": soak.load.samples,
        "checks": {c.what: c.holds for c in checks},
        "problems": soak.problems,
    }


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("interrupted: no report was written", file=sys.stderr)
        sys.exit(130)
