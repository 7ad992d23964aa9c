"""The user's own function on rows as they were read, before they are judged."""

from __future__ import annotations

import difflib
import importlib
import inspect
import pkgutil
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa

from celes_beam.contract import COLUMN_NAMES
from celes_beam.errors import ConfigError, TransformError

Hook = Callable[[pa.RecordBatch], pa.RecordBatch]

_SHOWN = 300
"""More of an error's own text than this is of no help in one line."""


@dataclass(frozen=True)
class Transform:
    """A user's function from record batch to record batch, named ``module:function``; picklable.

    The module is imported when first needed, on every worker, and is looked for in the current
    folder too. ``flag`` is what it was asked for with, for messages. The batch it is given has the
    contract's five columns, nulls where the input has none, then the input's other fields
    (``fields_batch``); what it returns must have as many rows, in the same order, and the five
    columns in any type that ``validate.judge_typed`` takes. It is called by several threads at
    once. Raises ``ConfigError`` for a reference of another form.
    """

    reference: str
    flag: str = "--transform"

    def __post_init__(self) -> None:
        module, _, function = self.reference.partition(":")
        names = [*module.split("."), *function.split(".")]
        if not all(name.isidentifier() for name in names) or module.endswith(".py"):
            raise ConfigError(
                f"{self} is not MODULE:FUNCTION, such as hooks:clean for the function clean of "
                "hooks.py in the current folder"
            )

    def __str__(self) -> str:
        return f"{self.flag} {self.reference}"

    def __reduce__(self) -> tuple[type[Transform], tuple[str, str]]:
        # The function itself may not be picklable, and is found again by its name.
        return Transform, (self.reference, self.flag)

    def check(self) -> None:
        """Raise ``ConfigError`` when the function cannot be imported, or takes no batch."""
        try:
            inspect.signature(self._function).bind(None)
        except ValueError:
            # Some that are written in C do not tell.
            return
        except TypeError as error:
            raise ConfigError(
                f"{self} does not take one record batch ({error}): expected "
                f"def {self.reference.rpartition(':')[2]}(batch: pyarrow.RecordBatch) -> "
                "pyarrow.RecordBatch"
            ) from error

    def apply(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return what the function makes of a batch.

        Raises ``TransformError`` when it raises anything, or returns something other than as many
        rows with the contract's columns; ``ConfigError`` when it cannot be imported.
        """
        function = self._function
        try:
            made = function(batch)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # Rust panics and sys.exit() are no plain exceptions.
            raise TransformError(f"{self} raised {_told(error, self._file)}") from error
        self._check_made(made, batch.num_rows)
        return made

    def _check_made(self, made: object, rows: int) -> None:
        if not isinstance(made, pa.RecordBatch):
            raise TransformError(
                f"{self} returned {_type_name(made)}: expected a pyarrow.RecordBatch"
            )
        if made.num_rows != rows:
            raise TransformError(
                f"{self} returned {made.num_rows:,} rows for {rows:,}: expected one for each, in "
                "the same order; a row that is not wanted can be made null, to be rejected"
            )
        names = made.schema.names
        for column in COLUMN_NAMES:
            if names.count(column) != 1:
                there = ", ".join(map(repr, names[:20])) + (", …" if len(names) > 20 else "")
                raise TransformError(
                    f"{self} returned {names.count(column) or 'no'} columns {column}: expected "
                    f"one of each of {', '.join(COLUMN_NAMES)}; there are {there or 'none'}"
                )
        try:
            made.validate()
        except pa.ArrowInvalid as error:
            raise TransformError(f"{self} returned a corrupt batch: {_line(error)}") from error

    @property
    def _file(self) -> str | None:
        module = sys.modules.get(self.reference.partition(":")[0])
        return getattr(module, "__file__", None)

    @cached_property
    def _function(self) -> Hook:
        module_name, _, path = self.reference.partition(":")
        found: Any = self._import(module_name)
        for name in path.split("."):
            if not hasattr(found, name):
                there = [n for n, value in vars(found).items() if callable(value)]
                where = getattr(found, "__file__", None) or repr(found)
                raise ConfigError(f"{self}: {where} has no {name!r}{_nearest(name, there)}")
            found = getattr(found, name)
        if not callable(found):
            raise ConfigError(f"{self} is {_type_name(found)}: expected a function")
        function: Hook = found
        return function

    def _import(self, name: str) -> ModuleType:
        here = str(Path.cwd())
        if here not in sys.path and "" not in sys.path:
            # Last, so that no file of the folder takes the place of an installed module.
            sys.path.append(here)
        importlib.invalidate_caches()
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            missing = error.name or ""
            if name != missing and not name.startswith(f"{missing}."):
                raise self._not_imported(name, error) from error
            parent, _, last = missing.rpartition(".")
            near = _nearest(last, _modules_in(parent))
            raise ConfigError(
                f"{self}: there is no module {missing!r} in {here} or among the installed packages"
                f"{near}"
            ) from error
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # What a module does on import is anybody's guess.
            raise self._not_imported(name, error) from error

    def _not_imported(self, name: str, error: BaseException) -> ConfigError:
        return ConfigError(
            f"{self}: importing {name} raised {_told(error, None)}; see that "
            f"python -c 'import {name}' works"
        )


def fields_batch(
    columns: Mapping[str, pa.Array], others: Iterable[tuple[str, pa.Array]], rows: int
) -> pa.RecordBatch:
    """Make the batch that a transform is given out of arrays of ``rows`` values.

    ``columns`` holds those contract columns that the input has; the others become nulls (string).
    ``others`` are its further fields, in their order. A name that is taken gets ``_2``, ``_3``.
    """
    arrays = [columns.get(name, pa.nulls(rows, pa.string())) for name in COLUMN_NAMES]
    names = list(COLUMN_NAMES)
    for name, array in others:
        names.append(name)
        arrays.append(array)
    return pa.RecordBatch.from_arrays(arrays, names=unlike_names(names))


def unlike_names(names: Iterable[str]) -> list[str]:
    """Give each name that stood before ``_2``, ``_3``, …, so that all are unlike."""
    names = list(names)
    taken = set(names)
    seen: set[str] = set()
    made = []
    for name in names:
        unlike, number = name, 2
        while unlike in seen or (number > 2 and unlike in taken):
            unlike, number = f"{name}_{number}", number + 1
        seen.add(unlike)
        made.append(unlike)
    return made


def _told(error: BaseException, file: str | None) -> str:
    """The exception, its text, and where it was raised: in the user's own file if possible."""
    frames = [f for f in traceback.extract_tb(error.__traceback__)[1:] if f.filename[0] != "<"]
    own = [f for f in frames if f.filename == file] or frames
    text = _line(error)
    told = f"{type(error).__name__}: {text}" if text else type(error).__name__
    if not own:
        return told
    frame = own[-1]
    return f"{told} ({Path(frame.filename).name}, line {frame.lineno}, in {frame.name})"


def _line(error: BaseException) -> str:
    try:
        text = " ".join(str(error).split())
    except Exception:  # noqa: BLE001 - it is the user's own
        return ""
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _type_name(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _nearest(name: str, there: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, sorted(set(there)), n=1)
    return f": perhaps {near[0]}" if near else ""


def _modules_in(package: str) -> Iterator[str]:
    """The names of the modules of a package; those at the top when it is the empty text."""
    path = getattr(sys.modules.get(package), "__path__", []) if package else None
    return (module.name for module in pkgutil.iter_modules(path))
