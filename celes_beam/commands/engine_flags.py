"""An engine other than Beam, as its command line knows it; quick to import, for ``--help``."""

from __future__ import annotations

import argparse
import difflib
import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from celes_beam.commands.aggregate_flags import add_aggregate_flags
from celes_beam.commands.flags import AddFlags, flag_parser, known_flags, parse_flags
from celes_beam.errors import ConfigError, MissingProgramError


def no_flags(parser: argparse.ArgumentParser) -> None:
    """Add nothing: the engine has no flags of its own."""


@dataclass(frozen=True)
class Engine:
    """``name`` stands in results, and ``program`` (``pandas_jobs.aggregate``) is what is run.

    ``modules`` are the packages that it imports, which ``extra`` of celes-beam brings, and
    ``gcs_modules`` those for an input below gs://; ``title`` is how it is called in messages, and
    ``epilog`` ends its help. With ``write_sorted`` files are read ``passes_when_sorted`` times.
    """

    name: str
    title: str
    program: str
    description: str
    extra: str
    modules: tuple[str, ...]
    gcs_modules: tuple[str, ...] = ()
    add_flags: AddFlags = no_flags
    epilog: str = ""
    passes_when_sorted: int = 1

    def parse(self, argv: Sequence[str] | None) -> argparse.Namespace:
        """Parse a command line (of this process without ``argv``): the flags of
        ``pipelines.aggregate``, and the engine's own.

        Raises ``ConfigError`` for one that is not known, and ``MissingProgramError`` when the
        packages that the job needs cannot be imported.
        """
        parser = flag_parser(
            self.program, self.description, add_aggregate_flags, self.add_flags, epilog=self.epilog
        )
        flags, unknown = parse_flags(parser, sys.argv[1:] if argv is None else argv)
        if unknown:
            near = difflib.get_close_matches(unknown[0].split("=")[0], known_flags(parser), n=1)
            raise ConfigError(
                f"{unknown[0]} is not a flag of {self.program}"
                + (f": perhaps {near[0]}" if near else "; see --help")
            )
        self._need_packages(flags.input)
        return flags

    def _need_packages(self, root: str) -> None:
        for module in self.modules + (self.gcs_modules if root.startswith("gs://") else ()):
            try:
                importlib.import_module(module)
            except ImportError as error:
                raise MissingProgramError(
                    f"{self.title} needs the package {error.name or module}: "
                    f"pip install 'celes-beam[{self.extra}]'"
                ) from error
