"""The metadata of the Flex Templates, made from the flags of the pipelines so that none can drift.

``celes-beam deploy metadata`` writes them to ``templates/``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import Any

from celes_beam.commands.pipeline_parsers import BATCH, PARSERS, REPLAY, STREAMING
from celes_beam.commands.template_flags import PIPELINE
from celes_beam.commands.template_table import LEFT_OUT, REQUIRED, SHOWN, Shown
from celes_beam.errors import ConfigError
from celes_beam.plan.job import IMAGE_PATTERN

_NAMES = {
    BATCH: "celes-beam batch: files to a lake and BigQuery",
    STREAMING: "celes-beam streaming: Pub/Sub to BigQuery and a lake",
    REPLAY: "celes-beam replay: rejected rows once more",
}
_JOB = "Job"
SDK_IMAGE = "sdk_container_image"


def metadata(name: str) -> dict[str, Any]:
    """What the template of a pipeline says of itself, as its JSON file holds it.

    Raises ``ConfigError`` when a flag of the pipeline is neither shown nor left out on purpose.
    """
    parser = PARSERS[name]()
    streams = name == STREAMING
    told: dict[str, Any] = {
        "name": _NAMES[name],
        "description": parser.description,
        "streaming": streams,
    }
    if streams:
        # A batch is written once because the shuffle before it keeps it as it was: Dataflow's
        # at-least-once mode does not.
        told |= {
            "supportsAtLeastOnce": False,
            "supportsExactlyOnce": True,
            "defaultStreamingMode": "EXACTLY_ONCE",
        }
    return told | {"parameters": [*_ours(name, parser), *_of_the_job(name)]}


def metadata_text(name: str) -> str:
    """The content of ``templates/NAME.json``."""
    return json.dumps(metadata(name), indent=2, ensure_ascii=False) + "\n"


def _ours(name: str, parser: argparse.ArgumentParser) -> Iterator[dict[str, Any]]:
    left_out = LEFT_OUT[name]
    for group in parser._action_groups:
        for action in group._group_actions:
            flag = long_name(action)
            if flag is None or flag in left_out:
                continue
            if flag not in SHOWN:
                raise ConfigError(
                    f"--{flag} of pipelines.{name}: a template must show it or leave it out on "
                    "purpose: add it to SHOWN or LEFT_OUT of commands/template_table.py"
                )
            yield _parameter(flag, action, SHOWN[flag], group.title or "", flag in REQUIRED[name])


def long_name(action: argparse.Action) -> str | None:
    """The long name of a flag without its dashes; None for help, and for mere short forms."""
    if isinstance(action, argparse._HelpAction):
        return None
    return next((o[2:] for o in action.option_strings if o.startswith("--")), None)


def _parameter(
    name: str, action: argparse.Action, shown: Shown, group: str, required: bool
) -> dict[str, Any]:
    parameter: dict[str, Any] = {
        "name": name,
        "label": shown.label,
        "helpText": _help(action, shown),
        "isOptional": not required,
        "paramType": shown.kind,
        "groupName": _sentence(group),
    }
    if shown.pattern is not None:
        parameter["regexes"] = [f"^({shown.pattern})$"]
    if shown.kind == "ENUM":
        parameter["enumOptions"] = [{"value": c, "label": c} for c in action.choices or ()]
    default = "false" if shown.kind == "BOOLEAN" else action.default
    if default is not None and not required:
        parameter["defaultValue"] = _plain(default)
    if shown.only_with is not None:
        parameter["parentName"], values = shown.only_with
        parameter["parentTriggerValues"] = list(values)
    return parameter


def _help(action: argparse.Action, shown: Shown) -> str:
    if shown.told is not None:
        return shown.told.format(choices=", ".join(action.choices or ()))
    text = (action.help or "") % {"default": _plain(action.default)}
    return _sentence(text)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _of_the_job(name: str) -> Iterator[dict[str, Any]]:
    """What is not of the pipeline: Beam's own flags that no setting of a launch stands for."""
    yield {
        "name": SDK_IMAGE,
        "label": "Image of the workers",
        "helpText": "The image that the workers run: that of the template",
        "isOptional": True,
        "paramType": "TEXT",
        "groupName": _JOB,
        "regexes": [f"^({IMAGE_PATTERN})$"],
    }
    yield {
        "name": "dataflow_service_options",
        "label": "Service options",
        "helpText": "Options of Dataflow itself, such as enable_secure_boot",
        "isOptional": True,
        "paramType": "TEXT",
        "groupName": _JOB,
        "regexes": [r"^([\w.=/:-]+)$"],
    }
    yield {
        "name": "number_of_worker_harness_threads",
        "label": "Threads of a worker process",
        "helpText": "How many bundles a process of a worker does at once; fewer need less memory",
        "isOptional": True,
        "paramType": "NUMBER",
        "groupName": _JOB,
        "regexes": ["^([1-9][0-9]*)$"],
    }
    # The launcher goes by the other parameters, too; this one is for whoever wants to be explicit.
    yield {
        "name": PIPELINE,
        "label": "Pipeline",
        "helpText": "The pipeline of this template",
        "isOptional": True,
        "paramType": "ENUM",
        "groupName": _JOB,
        "enumOptions": [{"value": name, "label": name}],
        "defaultValue": name,
        "hiddenUi": True,
    }
