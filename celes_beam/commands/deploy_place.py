"""Where a job of ``celes-beam deploy`` runs, and as whom: its flags, and what is wrong with them.

What Dataflow would refuse minutes later, or the workers would die of, is refused here.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable

from celes_beam.commands.deploy_commands import Place
from celes_beam.commands.flag_values import positive_int
from celes_beam.errors import ConfigError
from celes_beam.plan.job import IMAGE_PATTERN, Job
from celes_beam.plan.refusals import place_refusals

_LABEL = re.compile(r"[a-z][a-z0-9_-]{0,62}=[a-z0-9_-]{0,63}")
_FOLDER = re.compile(r"gs://[^/\s]+(/[^\s,]*)?")
_TEMPLATE = re.compile(r"gs://[^/\s]+/[^\s,]+")
_BUILT = re.compile(r"([a-z0-9.-]+(:[0-9]+)?/)?[a-z0-9][a-z0-9._/-]*(:\w[\w.-]{0,127})?", re.ASCII)


def add_image(command: argparse.ArgumentParser, *, is_built: bool = False) -> None:
    """Add ``--image``: one of a registry, or with ``is_built`` the name that it is to get."""
    command.add_argument(
        "--image",
        required=True,
        type=_built_image if is_built else _image,
        metavar="IMAGE",
        help="REGION-docker.pkg.dev/PROJECT/celes-beam/celes-beam:VERSION"
        + ("" if is_built else ", or …@sha256:DIGEST"),
    )


def add_place(command: argparse.ArgumentParser) -> None:
    """Add the flags that say where a job runs."""
    group = command.add_argument_group("the job")
    for flag, metavar, told in (
        ("project", "P", "project that the job runs in (default: gcloud's)"),
        ("region", "REGION", "region of the job"),
        ("service_account", "EMAIL", "whom launcher and workers act as"),
        ("subnetwork", "PATH", "regions/REGION/subnetworks/NAME, with Private Google Access"),
        ("dataflow_kms_key", "KEY", "key that encrypts the job's state, of its region"),
        ("temp_location", "FOLDER", "gs://… for files of the job itself"),
        ("staging_location", "FOLDER", "gs://… for files of its launch"),
        ("machine_type", "TYPE", "machine of a worker"),
        ("launcher_machine_type", "TYPE", "machine of the launcher"),
    ):
        group.add_argument(f"--{flag}", metavar=metavar, help=told)
    for flag in ("num_workers", "max_workers"):
        group.add_argument(f"--{flag}", type=positive_int(f"--{flag}"), metavar="N")
    group.add_argument(
        "--label", action="append", default=[], metavar="KEY=VALUE", help="of the job; repeatable"
    )
    group.add_argument(
        "--public_ips",
        action="store_true",
        help="give workers addresses that the internet sees; they have none otherwise",
    )


def place_of(flags: argparse.Namespace) -> Place:
    """The place that the flags name. Raises ``ConfigError`` for what cannot be, or does not fit."""
    for label in flags.label:
        if not _LABEL.fullmatch(label):
            raise ConfigError(
                f"--label {label}: expected KEY=VALUE of lower-case letters, digits, - and _"
            )
    for name in ("temp_location", "staging_location"):
        value = getattr(flags, name)
        if value is not None:
            check_bucket_folder(value, f"--{name}")
    job = Job(
        "batch",
        project=flags.project,
        region=flags.region,
        service_account=flags.service_account,
        subnetwork=flags.subnetwork,
        kms_key=flags.dataflow_kms_key,
        machine_type=flags.machine_type,
        num_workers=flags.num_workers,
        max_workers=flags.max_workers,
    )
    for refused in place_refusals(job):
        raise ConfigError(str(refused))
    return Place(
        project=flags.project,
        region=flags.region,
        service_account=flags.service_account,
        subnetwork=flags.subnetwork,
        kms_key=flags.dataflow_kms_key,
        temp_location=flags.temp_location,
        staging_location=flags.staging_location,
        machine_type=flags.machine_type,
        num_workers=flags.num_workers,
        max_workers=flags.max_workers,
        launcher_machine_type=flags.launcher_machine_type,
        labels=dict(named_once("--label", (label.split("=", 1) for label in flags.label))),
        public_ips=flags.public_ips,
    )


def check_bucket_folder(value: str, flag: str) -> None:
    """Raise ``ConfigError`` for what is no folder of a bucket."""
    if not _FOLDER.fullmatch(value):
        raise ConfigError(f"{flag} {value}: expected gs://BUCKET/FOLDER")


def check_template(value: str) -> None:
    """Raise ``ConfigError`` for what is no file in a bucket."""
    if not _TEMPLATE.fullmatch(value):
        raise ConfigError(
            f"--template {value}: expected the file that celes-beam deploy template put into a "
            "bucket, such as gs://PROJECT-celes-staging/templates/VERSION/batch.json"
        )


def named_once(flag: str, pairs: Iterable[list[str]]) -> dict[str, str]:
    """Names with their values. Raises ``ConfigError`` for a name that comes twice."""
    found: dict[str, str] = {}
    for name, value in pairs:
        if name in found:
            raise ConfigError(
                f"{flag} {name} is given twice, as {found[name]} and as {value}: give it once"
            )
        found[name] = value
    return found


def _image(text: str) -> str:
    return _matching(re.compile(IMAGE_PATTERN, re.ASCII).fullmatch, text, " or …@sha256:DIGEST")


def _built_image(text: str) -> str:
    return _matching(_BUILT.fullmatch, text, ", and no digest, which the build decides")


def _matching(matches: Callable[[str], object], text: str, more: str) -> str:
    if not matches(text):
        raise ConfigError(
            f"--image {text}: expected REGION-docker.pkg.dev/PROJECT/celes-beam/celes-beam:VERSION"
            f"{more}"
        )
    return text
