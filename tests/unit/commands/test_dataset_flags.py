import pytest

from celes_beam.commands.dataset_flags import add_dataset_flags, share
from celes_beam.commands.flags import flag_parser, parse_flags
from celes_beam.errors import ConfigError


def test_defaults_make_one_csv_file() -> None:
    flags, rest = parse_flags(flag_parser("pipelines.generate", "what", add_dataset_flags), [])

    assert (flags.output, flags.format, flags.shards) == ("./ventas.csv", None, None)
    assert (flags.if_exists, flags.error_rate, rest) == ("error", 0.0, [])


@pytest.mark.parametrize(("text", "value"), [("0.01", 0.01), ("1%", 0.01), ("0", 0.0), ("1", 1.0)])
def test_a_share_is_a_number_or_a_percentage(text: str, value: float) -> None:
    assert share("--error_rate")(text) == value


@pytest.mark.parametrize("text", ["", "x", "-0.1", "1.1", "101%", "nan"])
def test_a_wrong_share_is_named(text: str) -> None:
    with pytest.raises(ConfigError, match="--error_rate"):
        share("--error_rate")(text)
