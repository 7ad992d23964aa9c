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
    build_commands,
    run_command_of,
    spec_text,
    upload_command,
)
from celes_beam.commands.deploy_place import (
    add_image,
    add_place,
    check_bucket_folder,
    check_template,
    place_of,
)
from celes_beam.commands.flags import FlagParser
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
_ARGUMENT = re.compile(r"[A-Za-z_]\w*=", re.ASCII)
_EPOCH = re.compile(r"[0-9]{1,12}")
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
    add_image(command, is_built=True)
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
    add_image(command)
    command.add_argument(
        "--to",
        metavar="FOLDER",
        help="folder of a bucket, such as gs://PROJECT-celes-staging/templates/VERSION (default: "
        "only make the file)",
    )
    command.add_argument(
        "--folder",
        default="build/templates",
        metavar="FOLDER",
        help="folder here where the file is made (default: %(default)s)",
    )
    add_place(command)
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
        help="the template's file, such as gs://PROJECT-celes-staging/templates/VERSION/batch.json",
    )
    add_image(command)
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
    add_place(command)
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


def _add_print(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--print", dest="only_print", action="store_true", help="show the commands, and run none"
    )


def _build(flags: argparse.Namespace) -> int:
    if not Path(DOCKERFILE).exists():
        raise ConfigError(f"{DOCKERFILE} is not here: run it in the folder of the repository")
    for argument in flags.build_arg:
        if not _ARGUMENT.match(argument):
            raise ConfigError(f"--build_arg {argument}: expected NAME=VALUE")
    # What is not committed gets into the image as well: its label must not name the commit alone.
    revision = flags.revision or _git(
        "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"
    )
    epoch = os.environ.get("SOURCE_DATE_EPOCH") or _git("log", "-1", "--format=%ct")
    if not _EPOCH.fullmatch(epoch):
        raise ConfigError(
            f"SOURCE_DATE_EPOCH={epoch}: expected seconds since 1970, such as 1700000000"
        )
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
    place = place_of(flags)
    names = tuple(PARSERS) if flags.name == "all" else (flags.name,)
    if flags.to is not None:
        check_bucket_folder(flags.to, "--to")
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
    check_template(flags.template)
    command = run_command_of(
        flags.name,
        job,
        flags.template,
        template_parameters(flags.name, flags.set),
        place_of(flags),
        image=flags.image,
        update=flags.update,
    )
    code = _do([command], only_print=flags.only_print)
    if code == 0 and not flags.only_print and flags.name == STREAMING:
        where = f" --region {flags.region}" if flags.region else ""
        print(f"Next: gcloud dataflow jobs drain JOB{where} ends it, losing nothing")
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
            # As a shell has it, where a signal ended it.
            code = ended.returncode if ended.returncode > 0 else 128 - ended.returncode
            print(f"{command[0]} ended with code {code}", file=sys.stderr)
            return code
    return 0
