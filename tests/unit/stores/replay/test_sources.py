"""What a source is, and what is known of verdicts that cannot differ."""

from __future__ import annotations

import dataclasses
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from celes_beam.commands.replay_options import _REASONS
from celes_beam.contract import REASONS, Rules
from celes_beam.sales.csv_dialect import CsvDialect
from celes_beam.sales.texts import Notation
from celes_beam.sales.transform import Transform
from celes_beam.stores.inputs.read_options import ReadOptions
from celes_beam.stores.replay.fingerprint import fingerprint
from celes_beam.stores.replay.sources import is_subscription, is_table


def test_what_a_source_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "project.data.ventas").mkdir()
    assert is_table("my-project:sales.ventas")
    assert is_table("my-project.sales.ventas")
    assert not is_table("project.data.ventas")
    assert not is_table("gs://bucket/lake")
    assert not is_table("./lake")
    assert is_subscription("projects/p/subscriptions/s")
    assert not is_subscription("projects/lake")


def test_the_reasons_of_the_flag_are_the_contracts() -> None:
    assert tuple(map(str, REASONS)) == _REASONS


def test_whatever_may_change_a_verdict_changes_the_fingerprint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    module = tmp_path / "replay_fix.py"
    module.write_text("def fix(batch):\n    return batch\n", encoding="utf-8")
    fix = Transform("replay_fix:fix", "--fix")
    fix.check()
    rules = Rules(started=datetime(2026, 1, 1, tzinfo=UTC))
    plain = ReadOptions()
    found = [
        fingerprint(rules, plain, None),
        fingerprint(dataclasses.replace(rules, regions=("Norte",)), plain, None),
        fingerprint(dataclasses.replace(rules, categories=("Norte",)), plain, None),
        fingerprint(rules, plain, "a,b"),
        fingerprint(rules, ReadOptions(columns={"id_cliente": "id"}), None),
        fingerprint(rules, ReadOptions(dialect=CsvDialect(notation=Notation(","))), None),
        fingerprint(rules, ReadOptions(transform=fix), None),
    ]
    module.write_text("def fix(batch):\n    return batch  # again\n", encoding="utf-8")
    found.append(fingerprint(rules, ReadOptions(transform=fix), None))
    assert len(set(found)) == len(found)
    later = Rules(started=datetime(2026, 2, 1, tzinfo=UTC))
    assert fingerprint(later, plain, None) == found[0]
    monkeypatch.delitem(sys.modules, "replay_fix")
