"""The parameters of a template, checked before a launch as Dataflow and the pipeline would."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import Any

from celes_beam.commands.pipeline_parsers import PARSERS
from celes_beam.commands.template_flags import mended
from celes_beam.commands.template_metadata import SDK_IMAGE, metadata
from celes_beam.commands.template_table import LEFT_OUT
from celes_beam.errors import ConfigError


def template_parameters(name: str, settings: Sequence[str]) -> dict[str, str]:
    """The parameters that texts NAME=VALUE set.

    Raises ``ConfigError`` for one that the template does not know, for a value that Dataflow or
    the pipeline would refuse, and for one that is missing.
    """
    shown = {p["name"]: p for p in metadata(name)["parameters"]}
    parameters: dict[str, str] = {}
    for setting in settings:
        parameter, value = _split(setting)
        if parameter in parameters:
            raise ConfigError(
                f"--set {parameter} is given twice, and a template takes each once: expected a "
                f"comma between, {parameter}={parameters[parameter]},{value}, if it takes several"
            )
        parameters[parameter] = value
    for parameter, value in parameters.items():
        if parameter not in shown or parameter == SDK_IMAGE:
            why = LEFT_OUT[name].get(parameter, "a template of it has no such parameter")
            raise ConfigError(f"--set {parameter}: not for {name}: {why}")
        _check(shown[parameter], value)
    for parameter, told in shown.items():
        if not told["isOptional"] and parameter not in parameters:
            raise ConfigError(f"--set {parameter}=… is missing: {told['helpText']}")
    ours = PARSERS[name]()
    given = [f"--{parameter}={value}" for parameter, value in parameters.items()]
    # Those of the job are Beam's, which is not imported for this.
    flags, _ = mended(given, ours, argparse.ArgumentParser(add_help=False))
    ours.parse_args(flags)
    return parameters


def _split(setting: str) -> tuple[str, str]:
    name, equals, value = setting.partition("=")
    if not name or not equals or not value:
        raise ConfigError(f"--set {setting}: expected NAME=VALUE, such as if_exists=append")
    return name, value


def _check(told: dict[str, Any], value: str) -> None:
    options = [option["value"] for option in told.get("enumOptions", ())]
    if told["paramType"] == "BOOLEAN":
        options = ["true", "false"]
    if options and value not in options:
        raise ConfigError(f"--set {told['name']}={value}: expected one of {', '.join(options)}")
    for pattern in told.get("regexes", ()):
        # Dataflow's letters are those of ASCII, and its lines end at the end.
        if not re.fullmatch(pattern, value, re.ASCII):
            raise ConfigError(
                f"--set {told['name']}={value}: Dataflow would refuse it, for it expects "
                f"{pattern}: {told['helpText']}"
            )
