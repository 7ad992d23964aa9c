"""``celes-beam deploy``: the image, the templates and their launch, by docker and gcloud."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from celes_beam import __version__
from celes_beam.commands.deploy_commands import (
    DOCKERFILE,
    Place,
    build_commands,
    run_command_of,
    spec_text,
    upload_command,
)
from celes_beam.commands.flags import FlagParser, positive_int
from celes_beam.commands.pipeline_parsers import PARSERS, STREAMING
from celes_beam.commands.template_metadata import metadata_text
from celes_beam.commands.template_parameters import template_parameters
from celes_beam.errors import ConfigError, MissingProgramError, StorageError

_INSTALL = {
    "docker": "install Docker (https://docs.docker.com/engine/install), or build with "
    "cloudbuild.yaml",
    "gcloud": "install the Google Cloud CLI (https://cloud.google.com/sdk/docs/install)",
    "git": "install git, or give --revision and set SOURCE_DATE_EPOCH",
}
_LABEL = re.compile(r"[a-z][a-z0-9_-]{0,62}=[a-z0-9_-]{0,63}")
_JOB_NAME = re.compile(r"[a-z]([a-z0-9-]{0,1022}[a-z0-9])?")


def add_deploy_command(groups: argparse._SubParsersAction[Any]) -> None:
    """Add ``deploy`` to the command line."""
    command: FlagParser = groups.add_parser(
        "deploy",
        help="build the image, make the templates, launch them (docs/deploy.md)",
        allow_abbrev=False,
    )
    kinds = command.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_build(kinds)
    _add_template(kinds)
    _add_run(kinds)
    _add_metadata(kinds)


def _add_build(kinds: argparse._SubParsersAction[Any]) -> None:
    command = kinds.add_parser(
        "build",
        help="build the image of launcher and workers, and push it",
        description="Build the image of this repository by docker; run it where the repository is.",
        allow_abbrev=False,
    )
    _add_image(command)
    command.add_argument("--push", action="store_true", help="push the image to its registry too")
    command.add_argument(
        "--build_arg",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="for the Dockerfile, such as SDK_IMAGE or LAUNCHER_IMAGE by digest; repeatable",
    )
    command.add_argument(
        "--revision", metavar="COMMIT", help="commit that is built (default: that of git)"
    )
    _add_print(command)
    command.set_defaults(run=_build)


def _add_template(kinds: argparse._SubParsersAction[Any]) -> None:
    command = kinds.add_parser(
        "template",
        help="make the file of a template, and put it into a bucket",
        description="Make the file by which Dataflow knows a template: its image, its parameters, "
        "and what a launch starts from unless it says otherwise.",
        allow_abbrev=False,
    )
    command.add_argument("name", choices=(*PARSERS, "all"), help="which template, or all")
    _add_image(command)
    command.add_argument(
        "--to",
        metavar="FOLDER",
        help="folder of a bucket, such as gs://PROJECT-celes-staging/templates (default: only "
        "make the file)",
    )
    command.add_argument(
        "--folder",
        default="build/templates",
        metavar="FOLDER",
        help="folder here where the file is made (default: %(default)s)",
    )
    _add_place(command)
    _add_print(command)
    command.set_defaults(run=_template)


def _add_run(kinds: argparse._SubParsersAction[Any]) -> None:
    command = kinds.add_parser(
        "run",
        help="launch a template",
        description="Launch a template. Its parameters are the flags of its pipeline: "
        "--set input=gs://BUCKET/in/ --set output=gs://BUCKET/lake",
        allow_abbrev=False,
    )
    command.add_argument("name", choices=tuple(PARSERS), help="which template")
    command.add_argument(
        "--template",
        required=True,
        metavar="FILE",
        help="the template's file, such as gs://PROJECT-celes-staging/templates/batch.json",
    )
    _add_image(command)
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a parameter, such as if_exists=append; a switch is true or false; repeatable",
    )
    command.add_argument(
        "--job_name", metavar="NAME", help="name of the job (default: celes-batch and so on)"
    )
    command.add_argument(
        "--update",
        action="store_true",
        help="take the place of the running streaming job of that name, and go on with its state",
    )
    _add_place(command)
    _add_print(command)
    command.set_defaults(run=_run)


def _add_metadata(kinds: argparse._SubParsersAction[Any]) -> None:
    command = kinds.add_parser(
        "metadata",
        help="write the templates' metadata, templates/*.json, from the pipelines' flags",
        allow_abbrev=False,
    )
    command.add_argument("--folder", default="templates", metavar="FOLDER", help="where to")
    command.set_defaults(run=_metadata)


def _add_image(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--image",
        required=True,
        metavar="IMAGE",
        help="REGION-docker.pkg.dev/PROJECT/celes-beam/celes-beam:VERSION, or …@sha256:DIGEST",
    )


def _add_print(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--print", dest="only_print", action="store_true", help="show the commands, and run none"
    )


def _add_place(command: argparse.ArgumentParser) -> None:
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


def _place(flags: argparse.Namespace) -> Place:
    for label in flags.label:
        if not _LABEL.fullmatch(label):
            raise ConfigError(
                f"--label {label}: expected KEY=VALUE of lower-case letters, digits, - and _"
            )
    for name in ("temp_location", "staging_location"):
        value = getattr(flags, name)
        if value is not None and not value.startswith("gs://"):
            raise ConfigError(f"--{name} {value}: expected gs://BUCKET/FOLDER")
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
        labels=dict(label.split("=", 1) for label in flags.label),
        public_ips=flags.public_ips,
    )


def _build(flags: argparse.Namespace) -> int:
    if not Path(DOCKERFILE).exists():
        raise ConfigError(f"{DOCKERFILE} is not here: run it in the folder of the repository")
    for argument in flags.build_arg:
        if "=" not in argument:
            raise ConfigError(f"--build_arg {argument}: expected NAME=VALUE")
    revision = flags.revision or _git("rev-parse", "HEAD")
    epoch = os.environ.get("SOURCE_DATE_EPOCH") or _git("log", "-1", "--format=%ct")
    commands = build_commands(
        flags.image,
        version=__version__,
        revision=revision,
        epoch=int(epoch),
        arguments=flags.build_arg,
        push=flags.push,
    )
    return _do(commands, only_print=flags.only_print)


def _template(flags: argparse.Namespace) -> int:
    place = _place(flags)
    names = tuple(PARSERS) if flags.name == "all" else (flags.name,)
    if flags.to is not None and not flags.to.startswith("gs://"):
        raise ConfigError(f"--to {flags.to}: expected gs://BUCKET/FOLDER")
    commands = []
    if flags.only_print:
        print(f"mkdir -p {shlex.quote(flags.folder)}")
    for name in names:
        path, text = Path(flags.folder) / f"{name}.json", spec_text(name, flags.image, place)
        if flags.only_print:
            print(f"cat > {shlex.quote(str(path))} <<'END'\n{text}END")
        else:
            _write(path, text)
            print(path)
        if flags.to is not None:
            commands.append(upload_command(str(path), f"{flags.to.rstrip('/')}/{name}.json"))
    return _do(commands, only_print=flags.only_print)


def _run(flags: argparse.Namespace) -> int:
    job = flags.job_name or f"celes-{flags.name}"
    if not _JOB_NAME.fullmatch(job):
        raise ConfigError(
            f"--job_name {job}: expected lower-case letters, digits and -, beginning with a letter"
        )
    command = run_command_of(
        flags.name,
        job,
        flags.template,
        template_parameters(flags.name, flags.set),
        _place(flags),
        image=flags.image,
        update=flags.update,
    )
    code = _do([command], only_print=flags.only_print)
    if code == 0 and not flags.only_print and flags.name == STREAMING:
        print("Next: gcloud dataflow jobs drain JOB ends it, losing nothing")
    return code


def _metadata(flags: argparse.Namespace) -> int:
    for name in PARSERS:
        path = Path(flags.folder) / f"{name}.json"
        _write(path, metadata_text(name))
        print(path)
    return 0


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}") from error


def _git(*arguments: str) -> str:
    found = _program("git")
    ended = subprocess.run([found, *arguments], capture_output=True, text=True, check=False)
    if ended.returncode:
        raise ConfigError(
            f"git {shlex.join(arguments)} failed: give --revision and set SOURCE_DATE_EPOCH"
        )
    return ended.stdout.strip()


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise MissingProgramError(f"{name} is missing: {_INSTALL[name]}")
    return found


def _do(commands: Sequence[Sequence[str]], *, only_print: bool) -> int:
    """Run commands until one fails; returns its exit code. Each is shown before it runs."""
    for command in commands:
        print(shlex.join(command), flush=True)
        if only_print:
            continue
        ended = subprocess.run([_program(command[0]), *command[1:]], check=False)
        if ended.returncode:
            print(f"{command[0]} ended with code {ended.returncode}", file=sys.stderr)
            return ended.returncode
    return 0
