"""What a template gives becomes what a pipeline wants, or is refused."""

from __future__ import annotations

import pytest

from celes_beam.commands.pipeline_parsers import PARSERS
from celes_beam.commands.template_flags import chosen_pipeline, mended
from celes_beam.errors import ConfigError
from celes_beam.transforms.options import beam_parser


@pytest.mark.parametrize(
    ("argv", "name"),
    [
        (["--input=gs://b/x", "--output=gs://b/lake"], "batch"),
        (["--rows=5"], "batch"),
        (["--output=gs://b/lake", "--subscription=projects/p/subscriptions/s"], "streaming"),
        (["--topic=projects/p/topics/t"], "streaming"),
        (["--from=gs://b/lake"], "replay"),
        (["--from=gs://b/lake", "--pipeline=batch"], "batch"),
    ],
)
def test_the_parameters_tell_which_pipeline_is_meant(argv: list[str], name: str) -> None:
    chosen, rest = chosen_pipeline(argv)

    assert chosen == name
    assert rest == [flag for flag in argv if not flag.startswith("--pipeline")]


def test_an_unknown_pipeline_names_the_known() -> None:
    with pytest.raises(ConfigError, match="--pipeline nightly: expected one of batch, streaming"):
        chosen_pipeline(["--pipeline=nightly"])


def mend(name: str, *flags: str) -> tuple[list[str], list[str]]:
    return mended(flags, PARSERS[name](), beam_parser())


def test_switches_take_true_and_false() -> None:
    flags, unknown = mend("batch", "--reprocess=true", "--no_use_public_ips=True", "--dry_run=")
    assert (flags, unknown) == (["--reprocess", "--no_use_public_ips"], [])
    assert mend("replay", "--again=false") == ([], [])

    with pytest.raises(ConfigError, match="--again=maybe: expected true or false"):
        mend("replay", "--again=maybe")


def test_what_may_be_repeated_is_a_comma_list() -> None:
    flags, _ = mend("replay", "--reason=missing, unknown", "--run=a,b", "--regions=Norte,Sur")

    assert flags == [
        *("--reason=missing", "--reason=unknown", "--run=a", "--run=b"),
        "--regions=Norte,Sur",
    ]
    parsed = PARSERS["batch"]().parse_args(mend("batch", "--input=gs://b/1,gs://b/2")[0])
    assert parsed.input == ["gs://b/1", "gs://b/2"]


def test_flags_that_nobody_knows_are_told_apart() -> None:
    flags, unknown = mend("batch", "--rows=5", "--of_a_newer_launcher=1", "--region=us-central1")

    assert flags == ["--rows=5", "--region=us-central1"]
    assert unknown == ["--of_a_newer_launcher=1"]
