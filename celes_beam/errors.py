"""Every error this package raises on purpose.

    CelesError
    ├── UsageError            exit code 2: the caller can mend it
    │   ├── ConfigError       a configured value is not acceptable
    │   ├── InputError        an input is missing, unreadable or not what it says it is
    │   │   ├── ColumnError   an input lacks a column of the contract
    │   │   └── InputChangedError  an input is not what it was when it was listed
    │   ├── TransformError    the user's own function raised, or returned no batch of its rows
    │   ├── LakeExistsError   the output already holds a lake, or something else
    │   └── MissingProgramError  this machine lacks a program or package
    ├── TooManyRejectedError  exit code 3: nothing was committed
    ├── StorageError          exit code 1: a disk or a bucket failed
    ├── LocalServerError      exit code 1: a local server did not start, or ended
    ├── LakeConflictError     exit code 1: another run decided first
    ├── EngineError           exit code 1: no engine of a comparison gave a result
    ├── DisagreementError     exit code 4: engines gave results that are not equal
    └── IntegrityError        exit code 1: counts, sums or checksums do not agree

A message says what was found, what was expected, and what to do about it.
"""

from __future__ import annotations

from typing import ClassVar


class CelesError(Exception):
    """Base of every error that this package raises on purpose."""

    exit_code: ClassVar[int] = 1


class UsageError(CelesError):
    """The command line, the configuration or the input cannot be used as given."""

    exit_code: ClassVar[int] = 2


class ConfigError(UsageError):
    """A configured value is not acceptable."""


class InputError(UsageError):
    """An input is missing, unreadable, or not what it claims to be."""


class ColumnError(InputError):
    """An input lacks a column of the contract, or holds it twice."""


class InputChangedError(InputError):
    """An input is not what it was when it was listed: changed, gone, or closed to us."""


class TransformError(UsageError):
    """The user's own function raised, or returned what is no batch of the rows it was given."""


class LakeExistsError(UsageError):
    """The output already holds a lake, or files that no lake of ours made."""


class MissingProgramError(UsageError):
    """This machine lacks a program or package; the message says how to install it."""


class TooManyRejectedError(CelesError):
    """More rows were rejected than the run allows, so nothing was committed."""

    exit_code: ClassVar[int] = 3


class StorageError(CelesError):
    """A disk or a bucket failed while reading or writing."""


class LocalServerError(CelesError):
    """A local server did not start, or ended by itself."""


class LakeConflictError(CelesError):
    """Another run decided first, so this run's files were not made visible."""


class EngineError(CelesError):
    """None of the engines that were to be compared gave a result."""


class DisagreementError(CelesError):
    """Engines gave results about the same rows that are not equal."""

    exit_code: ClassVar[int] = 4


class IntegrityError(CelesError):
    """Counts, sums or checksums do not agree, so the result cannot be trusted."""
