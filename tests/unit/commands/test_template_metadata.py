"""The templates' files say what the pipelines' flags say, and Google's own types take them."""

from __future__ import annotations

import re
from typing import Any

import pytest
from google.cloud.dataflow_v1beta3 import types
from google.protobuf import json_format

from celes_beam.commands import template_table
from celes_beam.commands.deploy_commands import Place, container_spec
from celes_beam.commands.pipeline_parsers import PARSERS
from celes_beam.commands.template_flags import mended
from celes_beam.commands.template_metadata import long_name, metadata, metadata_text
from celes_beam.errors import ConfigError
from celes_beam.transforms.options import beam_parser
from tests.tools import ROOT

NAMES = tuple(PARSERS)
_OF_A_FEW = (types.ParameterType.ENUM, types.ParameterType.BOOLEAN)
"""Kinds whose values are known without a pattern."""


def parameters(name: str) -> dict[str, dict[str, Any]]:
    return {p["name"]: p for p in metadata(name)["parameters"]}


@pytest.mark.parametrize("name", NAMES)
def test_the_committed_file_is_that_of_the_flags(name: str) -> None:
    committed = (ROOT / "templates" / f"{name}.json").read_text(encoding="utf-8")

    assert committed == metadata_text(name), "run celes-beam deploy metadata"


@pytest.mark.parametrize("name", NAMES)
def test_google_takes_metadata_and_spec(name: str) -> None:
    spec = container_spec(name, "r-docker.pkg.dev/p/celes-beam/celes-beam:1", Place(max_workers=3))

    taken = json_format.ParseDict(spec, types.ContainerSpec.pb()())

    told = taken.metadata
    assert told.streaming is (name == "streaming")
    assert told.name
    assert told.description
    for parameter in told.parameters:
        assert re.fullmatch(r"[a-zA-Z][\w-]*", parameter.name)
        assert parameter.label
        assert parameter.help_text
        assert parameter.group_name
        assert parameter.param_type != types.ParameterType.DEFAULT
        assert len(parameter.regexes) == (parameter.param_type not in _OF_A_FEW), parameter.name
        assert (parameter.param_type == types.ParameterType.ENUM) == bool(parameter.enum_options)
    assert taken.default_environment.sdk_container_image == taken.image
    assert taken.default_environment.ip_configuration == 2  # private
    assert taken.default_environment.max_workers == 3


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_is_a_flag_and_its_default_is_that_of_the_flag(name: str) -> None:
    ours, beams = PARSERS[name](), beam_parser()
    defaults = [f"--{n}={p['defaultValue']}" for n, p in parameters(name).items() if _default(p)]

    flags, unknown = mended((f"--{n}" for n in parameters(name) if n != "pipeline"), ours, beams)
    assert unknown == []
    assert len(flags) == len(parameters(name)) - 1
    given, _ = mended(defaults, ours, beams)
    for action in ours._actions:
        action.required = False
    assert vars(ours.parse_args(given)) == vars(ours.parse_args([]))


def _default(parameter: dict[str, Any]) -> bool:
    return "defaultValue" in parameter and parameter["name"] != "pipeline"


@pytest.mark.parametrize("name", NAMES)
def test_defaults_and_parents_fit(name: str) -> None:
    known = parameters(name)
    for parameter in known.values():
        options = [o["value"] for o in parameter.get("enumOptions", [])]
        default = parameter.get("defaultValue")
        assert default is None or not options or default in options
        for pattern in parameter.get("regexes", []):
            assert default is None or re.search(pattern, default)
        if "parentName" in parameter:
            parent = [o["value"] for o in known[parameter["parentName"]]["enumOptions"]]
            assert set(parameter["parentTriggerValues"]) <= set(parent)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_left_out_is_a_flag_that_is_not_shown(name: str) -> None:
    flags = {long_name(a) for a in PARSERS[name]()._actions}

    assert set(template_table.LEFT_OUT[name]) == flags - set(parameters(name)) - {None}


def test_every_entry_of_the_table_is_a_flag() -> None:
    flags = {long_name(a) for parser in PARSERS.values() for a in parser()._actions}

    assert set(template_table.SHOWN) <= flags


def test_a_new_flag_must_be_shown_or_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(template_table.SHOWN, "rows")

    with pytest.raises(ConfigError, match=r"--rows of pipelines\.batch: a template must show it"):
        metadata("batch")


@pytest.mark.parametrize(
    ("name", "parameter", "good", "bad"),
    [
        ("batch", "input", "gs://b/a/*.csv, gs://b/c", "landing/a.csv"),
        ("batch", "output", "gs://b/lake", "gs:/b/lake"),
        ("batch", "bigquery_table", "my-project:ventas.ventas", "ventas"),
        ("batch", "rows", "1e7", "many"),
        ("batch", "max_rejected", "2.5%", "-1"),
        ("batch", "regions", "Norte,Islas del Sur", "Norte,,Sur"),
        ("batch", "csv_delimiter", ";", '"'),
        ("batch", "csv_delimiter", "tab", "||"),
        ("batch", "date_format", "dd/mm/yyyy HH:MM", "dd/mm"),
        ("batch", "date_format", "%d.%m.%y", "%d.%m"),
        ("replay", "csv_header", "id;fecha", " "),
        ("batch", "transform", "hooks:clean", "hooks.clean"),
        ("batch", "columns", "id_cliente=household_id,cantidad_de_venta=total", "id_cliente"),
        ("batch", "sdk_container_image", "r-docker.pkg.dev/p/c/c@sha256:" + "0" * 64, "c c"),
        ("streaming", "subscription", "projects/p/subscriptions/s", "projects/p/topics/t"),
        ("streaming", "lake_flush_seconds", "0.5", "soon"),
        ("replay", "from", "gs://b/lake", "projects/p/subscriptions/s"),
        ("replay", "from", "p-roject.ventas.ventas_rechazadas", "./lake"),
        ("replay", "since", "2026-11-01T12:00+01:00", "yesterday"),
        ("replay", "reason", "missing,unknown", "Missing;unknown"),
    ],
)
def test_patterns_take_what_is_right_alone(name: str, parameter: str, good: str, bad: str) -> None:
    (pattern,) = parameters(name)[parameter]["regexes"]

    assert re.search(pattern, good)
    assert not re.search(pattern, bad)


def test_switches_have_a_value_for_a_launcher_knows_no_other_flags() -> None:
    assert parameters("batch")["reprocess"]["paramType"] == "BOOLEAN"
    assert parameters("replay")["again"]["defaultValue"] == "false"
