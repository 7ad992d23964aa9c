"""``celes-beam plan`` without the cloud: what it tells, what it refuses, and its flags."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from celes_beam import cli
from celes_beam.commands.plan_flags import BEAM_FLAGS, BEAM_LISTS, BEAM_NUMBERS, BEAM_SWITCHES

JOB = (
    "--project=mi-tienda",
    "--region=us-central1",
    "--temp_location=gs://mi-tienda-celes-staging/temp",
    "--image=us-central1-docker.pkg.dev/mi-tienda/celes-beam/celes-beam:1",
    "--subnetwork=regions/us-central1/subnetworks/celes-dataflow",
    "--service_account=celes-worker@mi-tienda.iam.gserviceaccount.com",
    "--machine_type=n2-standard-2",
    "--max_workers=5",
)
BATCH = ("batch", "--input", "gs://in/*.csv", "--output", "gs://lake/ventas")
STREAM = (
    "streaming",
    "--subscription=projects/mi-tienda/subscriptions/ventas-celes-beam",
    "--bigquery_table=mi-tienda:ventas.ventas",
)


def plan(capsys: pytest.CaptureFixture[str], *flags: str) -> tuple[int, dict[str, Any]]:
    code = cli.main(("plan", *flags, "--json"))
    out, err = capsys.readouterr()
    assert err == ""
    return code, json.loads(out)


def test_a_batch_run_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    code, told = plan(capsys, *BATCH, *JOB, "--offline", "--input_gb=10", "--if_exists=append")
    assert code == 0
    assert told["ok"] is True
    assert told["job"]["project"] == "mi-tienda, region us-central1"
    assert told["job"]["machine type"] == "n2-standard-2: 2 vCPU, 8 GB"
    assert told["parameters"] == {
        "input": ["gs://in/*.csv"],
        "output": "gs://lake/ventas",
        "if_exists": "append",
    }
    assert told["reads"]["files"] is None
    assert told["checks"] == []
    assert 0 < told["cost"]["total"] < 1
    assert told["cost"]["total"] == pytest.approx(
        sum(line["amount"] for line in told["cost"]["lines"]), abs=1e-4
    )
    assert "as known on" in told["prices"]


def test_a_cost_that_is_not_known_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    _, told = plan(capsys, *BATCH, *JOB, "--offline")
    assert told["cost"] is None
    assert "--input_gb" in told["unpriced"]
    _, told = plan(capsys, *STREAM, *JOB, "--offline")
    assert told["cost"] is None
    assert "--rate" in told["unpriced"]


def test_a_month_of_a_stream_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    _, slow = plan(capsys, *STREAM, *JOB, "--offline", "--rate=100")
    _, fast = plan(capsys, *STREAM, *JOB, "--offline", "--rate=10000")
    assert slow["cost"]["workers"] == 1
    assert fast["cost"]["workers"] == 3
    assert fast["cost"]["total"] > slow["cost"]["total"] > 100
    assert slow["reads"]["subscription"] == STREAM[1].split("=")[1]


def test_people_read_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    flags = (*STREAM, *JOB, "--offline", "--rate=100", "--delivery=exactly_once")
    assert cli.main(("plan", *flags)) == 0
    text = capsys.readouterr().out
    for part in ("private alone", "--delivery", "7,200 of 10,000 left", "Cost of a month", "check"):
        assert part in text, text


@pytest.mark.parametrize(("seconds", "doubted"), [("1", True), ("5", False)])
def test_several_keys_that_gather_are_a_doubt(
    capsys: pytest.CaptureFixture[str], seconds: str, doubted: bool
) -> None:
    flags = (*STREAM, *JOB, "--offline", "--delivery=exactly_once", "--max_batch_seconds", seconds)
    code, told = plan(capsys, *flags)
    assert code == 0
    assert [check["name"] for check in told["checks"]] == ["write streams"] * doubted


def test_what_breaks_is_refused_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    flags = (*STREAM, *JOB, "--delivery=exactly_once", "--max_batch_seconds=0.5", "--public_ips")
    assert cli.main(("plan", *flags)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert len(lines) == 2
    assert "policy is private" in lines[0]
    assert "write streams an hour" in lines[1]
    code, told = plan(capsys, *flags)
    assert code == 2
    assert [sorted(one) for one in told["refused"]] == [["remedy", "said"]] * 2


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ((*BATCH, "--watch=60"), "--watch does not end"),
        ((*STREAM, "--idle_timeout=5"), "--idle_timeout is for a run on a machine of yours"),
        ((*STREAM, "--metrics_port=0"), "--metrics_port is for"),
        (("batch", "--input=ventas.csv", "--output=gs://lake/v"), "--input ventas.csv"),
        (("batch", "--rows=10"), "--output ./lake"),
        (
            (
                "streaming",
                "--topic=projects/mi-tienda/topics/ventas",
                "--dead_letter_topic=projects/mi-tienda/topics/ventas",
                "--output=gs://lake/v",
            ),
            "would come again for ever",
        ),
        ((*BATCH, "--flexrs=x"), "unrecognized arguments"),
        ((*BATCH, "--input_gb=-1"), "--input_gb -1"),
        ((*STREAM, "--rate=nan"), "--rate nan"),
        ((*STREAM, "--rate=1e6", "--offline"), "give --max_num_workers 250"),
        ((*BATCH, "--public_ips", "--no_use_public_ips"), "say the opposite"),
        ((*BATCH, "--prices=/nowhere.toml"), "--prices /nowhere.toml cannot be read"),
    ],
)
def test_one_line_for_what_cannot_be(
    capsys: pytest.CaptureFixture[str], flags: tuple[str, ...], said: str
) -> None:
    assert cli.main(("plan", *flags, *JOB)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert said in err


def test_prices_of_a_file_are_taken(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from celes_beam.plan.prices import BUNDLED

    mine = tmp_path / "prices.toml"
    mine.write_text(BUNDLED.read_text().replace('currency = "USD"', 'currency = "COP"'))
    _, told = plan(capsys, *BATCH, *JOB, "--offline", "--input_gb=1", f"--prices={mine}")
    assert told["cost"]["currency"] == "COP"


def test_its_flags_are_flags_of_beam() -> None:
    from celes_beam.transforms.options import beam_parser

    known = beam_parser()._option_string_actions
    first = [names[0] for names, *_ in (*BEAM_FLAGS, *BEAM_NUMBERS)]
    for name in (*first, *BEAM_SWITCHES, *BEAM_LISTS, "use_public_ips"):
        assert f"--{name}" in known
