"""The program that every Flex Template of the image starts; it picks the pipeline.

The image names one file for all (FLEX_TEMPLATE_PYTHON_PY_FILE is a setting of the image, and not of
a template), so the parameters tell which pipeline is meant.
"""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Sequence

from celes_beam.commands.command_line import run_command
from celes_beam.commands.pipeline_parsers import PARSERS
from celes_beam.commands.template_flags import chosen_pipeline, mended

_LOGGER = logging.getLogger(__name__)


def launch(argv: Sequence[str]) -> int:
    """Launch the pipeline that the flags mean; returns its exit code.

    Flags that neither it nor Beam knows are left out with a warning: the launcher of Google may
    pass some for other versions of Beam, and Dataflow itself refuses parameters that are misspelt.
    """
    from celes_beam.transforms.options import beam_parser  # noqa: PLC0415 - imports Beam

    name, given = chosen_pipeline(argv)
    flags, unknown = mended(given, PARSERS[name](), beam_parser())
    for flag in unknown:
        _LOGGER.warning("%s is not a flag of pipelines.%s or of Beam: left out", flag, name)
    # The launcher's log is read by people who were not there.
    logging.getLogger("celes_beam").info("pipelines.%s %s", name, " ".join(flags))
    code: int = importlib.import_module(f"pipelines.{name}").main(flags)
    return code


def main(argv: Sequence[str] | None = None) -> int:
    """Launch a pipeline, and return the exit code."""
    return run_command("pipelines.flex", launch, argv)


if __name__ == "__main__":
    sys.exit(main())
