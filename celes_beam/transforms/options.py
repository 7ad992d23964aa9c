"""Beam's side of a command line: its own flags, the runner they mean, and the run itself."""

from __future__ import annotations

import difflib
import errno
import logging
import re
import shutil
import signal
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import apache_beam as beam
import grpc  # type: ignore[import-untyped]
from apache_beam.options.pipeline_options import (
    PipelineOptions,
    PortableOptions,
    SetupOptions,
    StandardOptions,
)
from apache_beam.runners.portability.fn_api_runner import fn_runner
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.runners.runner import PipelineRunner, create_runner
from apache_beam.runners.worker.statesampler import StateSampler

from celes_beam.commands.command_line import imports_are_over, worker_output_held
from celes_beam.commands.flags import FlagParser
from celes_beam.commands.interrupts import interrupts_wait
from celes_beam.commands.progress import watch
from celes_beam.errors import ConfigError
from celes_beam.stores.cloud.clients import GCS_SCHEME
from celes_beam.transforms import portable
from celes_beam.transforms.flink_job import check_slots, ended_with_us
from celes_beam.transforms.flink_stream import drained_when
from celes_beam.transforms.loopback import know_workers_by_who_asked
from celes_beam.transforms.prism import prism_ended_with_us

_SAMPLING_MS = 5
_RUNNER_LACKS = re.compile(
    r"has validations errors|prism binary|binary URL|Service failed to start up", re.IGNORECASE
)
_NO_PROGRAM = (errno.ENOEXEC, errno.EACCES)
_LOCAL_RUNNERS = {"", "directrunner", "fnapirunner"}
_DATAFLOW_RUNNERS = {"dataflowrunner", "testdataflowrunner"}


def beam_options(argv: Sequence[str], our_flags: Iterable[str] = ()) -> PipelineOptions:
    """Read Beam's own flags; ``our_flags`` are named in hints.

    Raises ``ConfigError`` for a flag that nobody knows: Beam itself would drop it in silence.
    """
    parser = beam_parser()
    _, unknown = parser.parse_known_args(list(argv))
    if unknown:
        known = [*parser._option_string_actions, *our_flags]
        near = difflib.get_close_matches(unknown[0].split("=")[0], known, n=1)
        raise ConfigError(
            f"{unknown[0]} is not a flag of this pipeline or of Beam"
            + (f": perhaps {near[0]}" if near else "; see --help")
        )
    made = PipelineOptions(list(argv))
    # Nothing that workers need stands in __main__, and pickling it breaks on open files there.
    made.view_as(SetupOptions).save_main_session = False
    return made


def beam_parser() -> FlagParser:
    """Make a parser of Beam's own flags."""
    parser = FlagParser(allow_abbrev=False, add_help=False)
    for options in PipelineOptions.__subclasses__():
        options._add_argparse_args(parser)
    return parser


def new_pipeline(options: PipelineOptions) -> beam.Pipeline:
    """Make a pipeline for the runner that a command line means. Raises ``ConfigError``."""
    runner = runner_of(options)
    if portable.is_portable(options):
        portable.set_up(options)
        check_slots(options)
    with _runner_set_up(options):
        pipeline = beam.Pipeline(runner=runner, options=options)
    # Beam makes a folder for each, and deletes that of one that ran; some are made as a check only.
    weakref.finalize(pipeline, shutil.rmtree, pipeline.local_tempdir, ignore_errors=True)
    return pipeline


def run_to_end(
    pipeline: beam.Pipeline, options: PipelineOptions, *, run_id: str, total: int, progress: str
) -> None:
    """Run a pipeline and wait for it, showing how far it is; ``total`` is what the meter counts to.

    Raises what its workers raise.
    """
    if not is_on_this_machine(options):
        logging.getLogger("apache_beam").setLevel(logging.INFO)
        _run_and_wait(pipeline, options, run_id)
        return
    if portable.is_elsewhere(options):
        # What they count is not seen here.
        progress = "off"
    with watch(run_id, total, mode=progress), _run_here(options):
        _run_and_wait(pipeline, options, run_id)


def _run_and_wait(pipeline: beam.Pipeline, options: PipelineOptions, run_id: str) -> None:
    if _is_prism(options):
        # Beam leaves a handler of its own otherwise.
        with interrupts_wait(), _runner_set_up(options):
            result = pipeline.run()
        with prism_ended_with_us(options):
            result.wait_until_finish()
        return
    with ended_with_us(pipeline, run_id) if portable.is_portable(options) else nullcontext():
        with _runner_set_up(options):
            result = pipeline.run()
        result.wait_until_finish()


def run_until_stopped(
    pipeline: beam.Pipeline,
    options: PipelineOptions,
    stopping: AbstractContextManager[object],
    *,
    run_id: str,
    is_over: Callable[[], bool],
) -> None:
    """Run an unbounded pipeline on this machine until it ends; ``stopping`` handles signals.

    ``is_over`` tells that its source has ended, which a runner may not heed by itself.
    Raises what its workers raise.
    """
    with _run_here(options):
        if is_local(options):
            with stopping, _runner_set_up(options):
                pipeline.run().wait_until_finish()
            return
        if portable.is_portable(options):
            with stopping, ended_with_us(pipeline, run_id), _runner_set_up(options):
                result = pipeline.run()
                with drained_when(pipeline.options, is_over):
                    result.wait_until_finish()
            return
        # A runner beside us gets the Ctrl-C of a terminal, too, and would be gone before its work
        # is done; and Beam ends it by a handler of its own, which ours has to come after.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            with _runner_set_up(options):
                result = pipeline.run()
        finally:
            signal.signal(signal.SIGINT, before)
        with stopping:
            result.wait_until_finish()


@contextmanager
def _run_here(options: PipelineOptions) -> Iterator[None]:
    # It warns of starting and ending each runner beside us, the last at exit.
    logging.getLogger("apache_beam.utils.subprocess_server").setLevel(logging.ERROR)
    _end_bundles_at_once()
    imports_are_over()
    if portable.is_portable(options):
        know_workers_by_who_asked()
    with worker_output_held(show=not portable.is_portable(options)):
        yield


@contextmanager
def _runner_set_up(options: PipelineOptions) -> Iterator[None]:
    """Name the runner in what it says of options it lacks. Raises ``ConfigError``."""
    try:
        yield
    except grpc.RpcError as error:
        endpoint = options.view_as(PortableOptions).job_endpoint
        if not portable.is_portable(options) or not isinstance(error, grpc.Call):
            raise
        raise ConfigError(
            f"--job_endpoint {endpoint}: what is there is no job server of Beam's, or it failed "
            f"({error.code().name}: {error.details()}): give HOST:PORT of one"
        ) from error
    except (ValueError, RuntimeError, OSError) as error:
        said = " ".join(str(error).split())
        lacks = (
            _is_prism(options) and error.errno in _NO_PROGRAM
            if isinstance(error, OSError)
            else _RUNNER_LACKS.search(said)
        )
        if is_local(options) or not lacks:
            raise
        name = options.view_as(StandardOptions).runner
        remedy = (
            "name its program with --prism_location (make prism builds .tools/bin/prism)"
            if name == "PrismRunner"
            else "give what it asks for"
        )
        raise ConfigError(f"--runner {name} cannot start: {said}; {remedy}") from error


def _end_bundles_at_once() -> None:
    """Let Beam's sampler of states wake up every few milliseconds.

    A bundle that ends waits for it, and it sleeps for a sixth of the time that has passed, up to
    200 ms: a tenth of our main job. It is a thread without the GIL, so waking up costs nothing.
    Beam offers no setting for it.
    """
    StateSampler.__init__.__defaults__ = (_SAMPLING_MS,)


def _merge_metrics_at_once() -> None:
    """Let FnApiRunner add up the metrics of a stage after each of its bundles.

    It makes a generator around that of the bundle before: a stream grows by 25 KB with each, and
    whoever asks for its metrics after a thousand gets a RecursionError. Beam has no setting for it.
    """
    lazy = fn_runner.consolidate_monitoring_infos
    if not isinstance(lazy, _AtOnce):
        fn_runner.consolidate_monitoring_infos = _AtOnce(lazy)


class _AtOnce:
    """Gives a list of what an iterator would."""

    def __init__(self, lazy: Callable[[Iterable[Any]], Iterator[Any]]) -> None:
        self._lazy = lazy

    def __call__(self, metrics: Iterable[Any]) -> list[Any]:
        return list(self._lazy(metrics))


def check_output(options: PipelineOptions, output: str) -> None:
    """Raise ``ConfigError`` when workers elsewhere could not write what goes to a bucket.

    It is made on the disk of this machine, and uploaded from there.
    """
    if output.startswith(GCS_SCHEME) and not is_on_this_machine(options):
        name = options.view_as(StandardOptions).runner
        raise ConfigError(
            f"--output {output} is made on this machine's disk, which the workers of --runner "
            f"{name} may not see: use --runner DirectRunner or PrismRunner"
        )


def is_on_this_machine(options: PipelineOptions) -> bool:
    """Whether the workers see this machine: its disk, and the servers on it."""
    if portable.is_portable(options):
        return portable.works_here(options)
    return is_local(options) or _is_prism(options)


def is_local(options: PipelineOptions) -> bool:
    """Whether the pipeline runs in this process."""
    return _runner_name(options) in _LOCAL_RUNNERS


def is_native(options: PipelineOptions) -> bool:
    """Whether the pipeline runs on Dataflow, which has a source of Pub/Sub of its own."""
    return _runner_name(options) in _DATAFLOW_RUNNERS


def _is_prism(options: PipelineOptions) -> bool:
    return _runner_name(options) == "prismrunner"


def _runner_name(options: PipelineOptions) -> str:
    return (options.view_as(StandardOptions).runner or "").lower()


def runner_of(options: PipelineOptions) -> PipelineRunner:
    """Make the runner that a command line means. Raises ``ConfigError`` for an unknown one.

    "DirectRunner" is pinned to FnApiRunner: Beam's own goes by whether it could download another
    runner, so that the engine would change from machine to machine.
    """
    if is_local(options):
        _merge_metrics_at_once()
        return FnApiRunner()
    name = str(options.view_as(StandardOptions).runner)
    try:
        return create_runner(name)
    except (ValueError, ImportError) as error:
        raise ConfigError(
            f"--runner {name} cannot be used ({error}): expected DirectRunner, PrismRunner, "
            "DataflowRunner, FlinkRunner, SparkRunner or PortableRunner"
        ) from error
