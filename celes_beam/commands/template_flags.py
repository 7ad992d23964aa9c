"""The flags that a Flex Template gives: always ``--name=value``, mended into those of a pipeline.

The launcher of Google knows no flag without a value, and gives each name once.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence

from celes_beam.commands.pipeline_parsers import BATCH, PARSERS, REPLAY, STREAMING
from celes_beam.errors import ConfigError

PIPELINE = "pipeline"
_TOLD_BY = {"--subscription": STREAMING, "--topic": STREAMING, "--from": REPLAY}
_YES, _NO = "true", ("false", "")


def chosen_pipeline(argv: Sequence[str]) -> tuple[str, list[str]]:
    """The pipeline that ``--pipeline`` names, or else that of the other flags; and those.

    A stream has a subscription or a topic, a replay says where from; batch is what is left.
    Raises ``ConfigError`` for an unknown one.
    """
    named, rest = None, []
    for flag in argv:
        name, _, value = flag.partition("=")
        if name == f"--{PIPELINE}":
            named = value
        else:
            rest.append(flag)
    names = [flag.partition("=")[0] for flag in rest]
    pipeline = named or next((_TOLD_BY[name] for name in names if name in _TOLD_BY), BATCH)
    if pipeline not in PARSERS:
        raise ConfigError(f"--{PIPELINE} {pipeline}: expected one of {', '.join(PARSERS)}")
    return pipeline, rest


def mended(
    argv: Iterable[str], ours: argparse.ArgumentParser, beams: argparse.ArgumentParser
) -> tuple[list[str], list[str]]:
    """Flags as the parsers want them, and those that neither knows.

    ``--name=true`` becomes ``--name`` where a flag takes no value, and is left out for false; one
    of ours that may be repeated is repeated for each value of a comma list.
    """
    flags: list[str] = []
    unknown: list[str] = []
    for flag in argv:
        name, equals, value = flag.partition("=")
        action = ours._option_string_actions.get(name) or beams._option_string_actions.get(name)
        if action is None:
            (unknown if name.startswith("--") else flags).append(flag)
        elif equals and action.nargs == 0:
            flags += [name] if _is_yes(name, value) else []
        elif equals and name in ours._option_string_actions and _repeats(action):
            flags += [f"{name}={one}" for one in _each(value)]
        else:
            flags.append(flag)
    return flags, unknown


def _is_yes(name: str, value: str) -> bool:
    if value.lower() not in (_YES, *_NO):
        raise ConfigError(f"{name}={value}: expected true or false")
    return value.lower() == _YES


def _repeats(action: argparse.Action) -> bool:
    return isinstance(action, (argparse._AppendAction, argparse._ExtendAction))


def _each(value: str) -> Iterator[str]:
    return (one.strip() for one in value.split(",") if one.strip())
