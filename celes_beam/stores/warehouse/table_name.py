"""Names of BigQuery tables."""

from __future__ import annotations

import re
from dataclasses import dataclass

from celes_beam.errors import ConfigError

REJECTED_SUFFIX = "_rechazadas"
_PROJECT = r"(?:[a-z0-9.-]+:)?[a-z][a-z0-9-]{3,61}[a-z0-9]"
_NAME = re.compile(
    rf"(?P<project>{_PROJECT})[:.](?P<dataset>\w{{1,1024}})\.(?P<table>[\w-]{{1,900}})"
)


@dataclass(frozen=True)
class TableName:
    """Project, dataset and table."""

    project: str
    dataset: str
    table: str

    def __str__(self) -> str:
        return f"{self.project}:{self.dataset}.{self.table}"

    @property
    def path(self) -> str:
        """The name as SQL and Google's clients have it."""
        return f"{self.project}.{self.dataset}.{self.table}"

    @property
    def key(self) -> str:
        """The name as the name of a folder; no two tables have the same."""
        return self.path.replace(":", "+")

    @property
    def rejected(self) -> TableName:
        """The table of the rejected rows."""
        return self.beside(self.table + REJECTED_SUFFIX)

    def beside(self, table: str) -> TableName:
        """Another table of the same dataset."""
        return TableName(self.project, self.dataset, table)


def parse_table_name(text: str) -> TableName:
    """Read ``PROJECT:DATASET.TABLE`` or ``PROJECT.DATASET.TABLE``; raises ``ConfigError``."""
    found = _NAME.fullmatch(text.strip())
    if found is None:
        raise ConfigError(
            f"--bigquery_table {text}: expected PROJECT:DATASET.TABLE, such as "
            "my-project:sales.ventas (a dataset has letters, digits and '_', a table '-' as well)"
        )
    return TableName(found["project"], found["dataset"], found["table"])
