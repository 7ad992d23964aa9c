"""The flags of ``celes-beam plan``: those of a launch, by Beam's names and by ``deploy run``'s."""

from __future__ import annotations

import argparse
import math
from typing import Any

from celes_beam.commands.flag_values import positive_int
from celes_beam.errors import ConfigError
from celes_beam.plan.job import Job, Kind

BEAM_FLAGS: tuple[tuple[tuple[str, ...], str, str], ...] = (
    (("runner",), "NAME", "DataflowRunner; give it when you launch by python -m pipelines.…"),
    (("project",), "P", "project that the job runs in"),
    (("region",), "REGION", "region of the job"),
    (("job_name",), "NAME", "name of the job"),
    (("sdk_container_image", "image"), "IMAGE", "image of the workers"),
    (("service_account_email", "service_account"), "EMAIL", "whom the workers act as"),
    (("temp_location",), "FOLDER", "gs://… for files of the job itself"),
    (("staging_location",), "FOLDER", "gs://… for files of its launch"),
    (("network",), "NAME", "network of the workers"),
    (("subnetwork",), "PATH", "regions/REGION/subnetworks/NAME"),
    (("dataflow_kms_key",), "KEY", "key that encrypts the job's state"),
    (("worker_machine_type", "machine_type"), "TYPE", "machine of a worker"),
    (("worker_disk_type",), "TYPE", "kind of its disk"),
    (("worker_zone",), "ZONE", "zone of the workers"),
    (("flexrs_goal",), "GOAL", "COST_OPTIMIZED or SPEED_OPTIMIZED, for batch"),
)
"""Names of a flag (Beam's first), metavar and help."""
BEAM_NUMBERS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("num_workers",), "workers at the start"),
    (("max_num_workers", "max_workers"), "most workers"),
    (("disk_size_gb",), "disk of a worker"),
    (("direct_num_workers",), "refused here if it is not 1"),
)
BEAM_SWITCHES = ("no_use_public_ips", "update")
BEAM_LISTS = ("experiments", "extra_package", "setup_file", "requirements_file")


def add_plan_flags(command: argparse.ArgumentParser, kind: Kind) -> None:
    """Add the flags of a launch, and those of the plan itself."""
    group = command.add_argument_group("the job on Dataflow")
    for names, metavar, told in BEAM_FLAGS:
        group.add_argument(*_flags(names), metavar=metavar, help=told)
    for names, told in BEAM_NUMBERS:
        group.add_argument(
            *_flags(names), type=positive_int(f"--{names[0]}"), metavar="N", help=told
        )
    for name in BEAM_SWITCHES:
        group.add_argument(f"--{name}", action="store_true")
    group.add_argument("--use_public_ips", "--public_ips", action="store_true")
    for name in BEAM_LISTS:
        group.add_argument(f"--{name}", action="append", metavar="VALUE")
    plan = command.add_argument_group("the plan")
    plan.add_argument(
        "--policy",
        choices=("private", "open"),
        default="private",
        help="whether workers may have public addresses (default: %(default)s, they may not)",
    )
    if kind == "streaming":
        plan.add_argument(
            "--rate",
            type=_number("--rate"),
            metavar="N",
            help="messages a second, for the cost of a month",
        )
        plan.add_argument(
            "--message_bytes",
            type=_number("--message_bytes"),
            metavar="N",
            help="size of a message (default: that of the price file)",
        )
    else:
        plan.add_argument(
            "--input_gb",
            type=_number("--input_gb"),
            metavar="GB",
            help="reckon with so much to read, as text, instead of looking at --input",
        )
    plan.add_argument(
        "--prices", metavar="FILE", help="a corrected copy of the price file (docs/cost.md)"
    )
    plan.add_argument(
        "--offline", action="store_true", help="ask no service: flags, refusals and cost alone"
    )
    plan.add_argument("--json", action="store_true", help="print the plan as JSON")


def job_of(flags: argparse.Namespace, kind: Kind) -> Job:
    """The job that the flags of a launch describe."""
    others = {name: ",".join(value) for name in BEAM_LISTS if (value := getattr(flags, name))}
    if flags.direct_num_workers is not None:
        others["direct_num_workers"] = str(flags.direct_num_workers)
    if flags.no_use_public_ips:
        others["no_use_public_ips"] = "true"
    if flags.no_use_public_ips and flags.use_public_ips:
        raise ConfigError("--use_public_ips and --no_use_public_ips say the opposite: give one")
    return Job(
        kind,
        project=flags.project,
        region=flags.region,
        name=flags.job_name,
        runner=flags.runner,
        image=flags.sdk_container_image,
        service_account=flags.service_account_email,
        temp_location=flags.temp_location,
        staging_location=flags.staging_location,
        network=flags.network,
        subnetwork=flags.subnetwork,
        public_ips=flags.use_public_ips,
        private=flags.policy == "private",
        kms_key=flags.dataflow_kms_key,
        table_kms_key=flags.kms_key,
        table_location=flags.bigquery_location,
        machine_type=flags.worker_machine_type,
        num_workers=flags.num_workers,
        max_workers=flags.max_num_workers,
        given_disk_gb=flags.disk_size_gb,
        disk_type=flags.worker_disk_type,
        flexrs=flags.flexrs_goal,
        update=flags.update,
        zone=flags.worker_zone,
        experiments=tuple(flags.experiments or ()),
        others=others,
    )


def _flags(names: tuple[str, ...]) -> list[str]:
    return [f"--{name}" for name in names]


def _number(flag: str) -> Any:
    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not 0 <= value <= 1e12:
            raise ConfigError(f"{flag} {text}: expected a number, 0 or more")
        return value

    return parse
