"""A Flink cluster on this machine, and Beam's job server, which gives it pipelines.

    FOLDER
    ├── flink/conf/            config.yaml, log4j.properties: written at each start
    ├── flink/checkpoints/     what a stream goes on from
    ├── flink/…                temporary files of the servers
    └── logs/<service>.log

A manager, two workers with two slots each, and the job server: four processes of Java. Half of the
slots are a job's, so that the other half takes over when a worker is lost. The cluster listens on
127.0.0.1; Beam's job server and the workers while they run a job do so on every interface, which
Beam has no setting for.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from celes_beam.local.processes import HOST, Plan, Server, Tell, start
from celes_beam.local.programs import find_flink

Ports = Mapping[str, int]

MANAGER, JOBS = "flink", "flink-jobs"
WORKERS = ("flink-worker-1", "flink-worker-2")
FLINK_PORTS: Mapping[str, tuple[str, ...]] = {
    MANAGER: ("http", "rpc", "blob"),
    **dict.fromkeys(WORKERS, ("rpc", "data")),
    JOBS: ("jobs", "artifacts", "expansion"),
}
"""The processes of a cluster, in the order in which they start, and the names of their ports."""
FLAGS = "CELES_FLINK_FLAGS"
"""Variable with the flags that send a pipeline to the cluster."""
PARALLELISM = 2
_SLOTS = 2
_ENTRY = "org.apache.flink.runtime"
_OPENED = (
    *("io", "lang", "lang.invoke", "lang.reflect", "net", "nio", "text", "time", "util"),
    "util.concurrent",
)
_SETTINGS = {
    "jobmanager.bind-host": HOST,
    "jobmanager.rpc.address": HOST,
    "jobmanager.memory.process.size": "1600m",
    "rest.address": HOST,
    "rest.bind-address": HOST,
    "web.submit.enable": "false",
    "taskmanager.bind-host": HOST,
    "taskmanager.host": HOST,
    "taskmanager.numberOfTaskSlots": _SLOTS,
    "taskmanager.cpu.cores": _SLOTS,
    "taskmanager.memory.framework.heap.size": "128m",
    "taskmanager.memory.framework.off-heap.size": "128m",
    "taskmanager.memory.task.heap.size": "512m",
    "taskmanager.memory.task.off-heap.size": "0",
    "taskmanager.memory.managed.size": "192m",
    "taskmanager.memory.network.min": "96m",
    "taskmanager.memory.network.max": "96m",
    "taskmanager.memory.jvm-metaspace.size": "256m",
    "taskmanager.memory.jvm-overhead.min": "192m",
    "taskmanager.memory.jvm-overhead.max": "192m",
    # A manager that is gone has taken its jobs along: the job server need not ask for a minute.
    "rest.retry.max-attempts": 5,
    "cluster.evenly-spread-out-slots": "true",
    "parallelism.default": PARALLELISM,
    # A lost worker is noticed within seconds, and the job starts again on the slots that are left.
    # An error that stays ends it after the third time.
    "heartbeat.interval": 1000,
    "heartbeat.timeout": 10_000,
    "restart-strategy.type": "failure-rate",
    "restart-strategy.failure-rate.max-failures-per-interval": "3",
    "restart-strategy.failure-rate.failure-rate-interval": "2min",
    "restart-strategy.failure-rate.delay": "1s",
}
_LOGGING = """\
rootLogger.level = WARN
rootLogger.appenderRef.out.ref = out
appender.out.name = out
appender.out.type = CONSOLE
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{HH:mm:ss,SSS} %-5p %c{1} %m%n
logger.jobs.name = org.apache.flink.runtime.executiongraph
logger.jobs.level = INFO
"""


def start_manager(folder: Path, ports: Ports, tell: Tell = lambda _: None) -> Server:
    """Start Flink's job manager; raises as ``start`` and ``find_flink``."""

    def command(chosen: Ports) -> list[str]:
        settings = {
            "rest.port": chosen["http"],
            "jobmanager.rpc.port": chosen["rpc"],
            "blob.server.port": chosen["blob"],
        }
        entry = f"{_ENTRY}.entrypoint.StandaloneSessionClusterEntrypoint"
        return [*_java(folder, "700m"), entry, *_settings(folder, settings)]

    plan = Plan(MANAGER, command, "/overview", _log(folder, MANAGER), lambda _: {})
    return start(plan, ports, tell)


def start_worker(
    folder: Path, name: str, manager: Ports, ports: Ports, tell: Tell = lambda _: None
) -> Server:
    """Start a task manager and wait until the manager counts on it; ``manager`` are its ports."""

    def command(chosen: Ports) -> list[str]:
        settings = {
            "jobmanager.rpc.port": manager["rpc"],
            "taskmanager.rpc.port": chosen["rpc"],
            "taskmanager.data.port": chosen["data"],
            "taskmanager.resource-id": name,
        }
        entry = f"{_ENTRY}.taskexecutor.TaskManagerRunner"
        memory = ("-XX:MaxMetaspaceSize=256m", "-XX:MaxDirectMemorySize=352m")
        return [*_java(folder, "640m", *memory), entry, *_settings(folder, settings)]

    ready = ready_path(name, manager)
    return start(Plan(name, command, ready, _log(folder, name), lambda _: {}), ports, tell)


def start_jobs(folder: Path, manager: Ports, ports: Ports, tell: Tell = lambda _: None) -> Server:
    """Start Beam's job server for the cluster whose ``manager`` has these ports."""
    place = _write_settings(folder)

    def command(chosen: Ports) -> list[str]:
        return [
            *_java(folder, "1g"),
            "org.apache.beam.runners.flink.FlinkJobServerDriver",
            *(f"--flink-master={HOST}:{manager['http']}", f"--flink-conf-dir={place}"),
            *(f"--job-host={HOST}", f"--job-port={chosen['jobs']}"),
            *(f"--artifact-port={chosen['artifacts']}", f"--expansion-port={chosen['expansion']}"),
            f"--artifacts-dir={_home(folder) / 'artifacts'}",
        ]

    def clients(chosen: Ports) -> dict[str, str]:
        endpoint = f"{HOST}:{chosen['jobs']}"
        return {
            FLAGS: f"--runner PortableRunner --job_endpoint {endpoint} "
            f"--flink_master {HOST}:{manager['http']} --parallelism {PARALLELISM}"
        }

    return start(Plan(JOBS, command, "", _log(folder, JOBS), clients), ports, tell)


def ready_path(name: str, manager: Ports) -> str:
    """Where a process of the cluster is asked whether it is well; empty for the job server.

    A worker is well when the manager, at ``manager``, knows it.
    """
    if name == MANAGER:
        return "/overview"
    return "" if name == JOBS else f"http://{HOST}:{manager['http']}/taskmanagers/{name}"


def _java(folder: Path, heap: str, *flags: str) -> list[str]:
    """Begin a command line. The servers do little and are to start soon: one compiler is enough."""
    java, home = find_flink()
    opened = (f"--add-opens=java.base/java.{name}=ALL-UNNAMED" for name in _OPENED)
    return [
        *(str(java), f"-Xmx{heap}", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", *flags),
        *(*opened, "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED"),
        f"-Dlog4j.configurationFile=file:{_write_settings(folder) / 'log4j.properties'}",
        f"-Djava.io.tmpdir={_made(_home(folder) / 'tmp')}",
        # One for all of them: what a job needs is there, and nothing is uploaded with it.
        *("-cp", f"{home}/classes:{home}/lib/*:{home}/job-server/*"),
    ]


def _settings(folder: Path, settings: Mapping[str, object]) -> list[str]:
    given = (argument for name, value in settings.items() for argument in ("-D", f"{name}={value}"))
    return ["--configDir", str(_write_settings(folder)), *given]


def _write_settings(folder: Path) -> Path:
    """Write what all processes of the cluster have in common; returns the folder."""
    place, home = _made(_home(folder) / "conf"), _home(folder)
    settings = _SETTINGS | {
        "io.tmp.dirs": str(_made(home / "tmp")),
        "state.checkpoints.dir": (home / "checkpoints").as_uri(),
        "state.savepoints.dir": (home / "savepoints").as_uri(),
    }
    lines = (f"{name}: {_quoted(value)}\n" for name, value in settings.items())
    (place / "config.yaml").write_text("".join(lines), encoding="utf-8")
    (place / "log4j.properties").write_text(_LOGGING, encoding="utf-8")
    return place


def _quoted(value: object) -> str:
    return str(value) if isinstance(value, int) else "'" + str(value).replace("'", "''") + "'"


def _home(folder: Path) -> Path:
    return folder.resolve() / "flink"


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _log(folder: Path, service: str) -> Path:
    return folder.resolve() / "logs" / f"{service}.log"
