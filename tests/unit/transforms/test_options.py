import gc
import inspect
import tempfile
from pathlib import Path

import pytest
from apache_beam.options.pipeline_options import GoogleCloudOptions, SetupOptions
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.runners.worker.statesampler import StateSampler

from celes_beam.errors import ConfigError
from celes_beam.transforms.options import (
    beam_options,
    is_local,
    is_on_this_machine,
    new_pipeline,
    runner_of,
)


@pytest.mark.parametrize("flags", [[], ["--runner", "DirectRunner"], ["--runner=FnApiRunner"]])
def test_the_direct_runner_is_pinned(flags: list[str]) -> None:
    options = beam_options(flags)

    assert is_local(options)
    assert isinstance(runner_of(options), FnApiRunner)


def test_other_runners_are_what_they_say() -> None:
    prism = beam_options(["--runner", "PrismRunner"])
    dataflow = beam_options(["--runner", "DataflowRunner", "--project", "celes-dev"])

    assert type(runner_of(prism)).__name__ == "PrismRunner"
    assert (is_local(prism), is_on_this_machine(prism)) == (False, True)
    assert type(runner_of(dataflow)).__name__ == "DataflowRunner"
    assert (is_local(dataflow), is_on_this_machine(dataflow)) == (False, False)
    assert dataflow.view_as(GoogleCloudOptions).project == "celes-dev"


def test_an_unknown_runner_names_the_known() -> None:
    with pytest.raises(ConfigError, match=r"--runner Nobody cannot be used.*DirectRunner"):
        runner_of(beam_options(["--runner", "Nobody"]))


def test_an_unknown_flag_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"--outptu is not a flag.*perhaps --output"):
        beam_options(["--outptu", "x"], ["--output", "--input"])
    with pytest.raises(ConfigError, match="perhaps --runner"):
        beam_options(["--runer=DirectRunner"])


def test_a_stray_word_is_refused_too() -> None:
    with pytest.raises(ConfigError, match=r"ventas\.csv is not a flag"):
        beam_options(["ventas.csv"])


def test_the_sampler_that_bundles_wait_for_is_the_one_we_know() -> None:
    arguments = inspect.signature(StateSampler.__init__).parameters

    # run_to_end sets the one default there is; a Beam that has others must be looked at again.
    assert [n for n, a in arguments.items() if a.default is not a.empty] == ["sampling_period_ms"]


def test_the_main_session_is_never_pickled() -> None:
    options = beam_options(["--save_main_session"])

    assert options.view_as(SetupOptions).save_main_session is False


def test_a_pipeline_that_is_never_run_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    pipeline = new_pipeline(beam_options([]))
    assert list(tmp_path.iterdir())

    del pipeline
    gc.collect()

    assert not list(tmp_path.iterdir())
