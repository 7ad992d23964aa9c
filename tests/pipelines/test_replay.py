"""Rejected rows back through: by today's rules, each once, and none lost."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from celes_beam.contract import COLUMN_NAMES, ID, REGION
from celes_beam.errors import ConfigError, InputError, LakeConflictError, UsageError
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.verify import verify
from pipelines import batch, replay, replay_round
from tests.tools import ROOT

QUIET = ["--progress", "off"]
HEADER = ",".join(COLUMN_NAMES)
MARTE, SUR = "8,2024-05-03,1.00,Hogar,Marte", "9,2024-05-03,2.00,Hogar,Sur"
BOTH = ",2024-05-03,3.00,Hogar,Marte"


def write(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def take_in(lake: Path, *files: Path, flags: tuple[str, ...] = ()) -> str:
    """Take files into a lake of which Norte is the only region; returns the run id."""
    inputs = ["-i", *map(str, files), "-o", str(lake), "--if_exists", "append"]
    return batch.run([*inputs, "--regions", "Norte", *flags, *QUIET]).manifest.run_id


def again(lake: Path, *flags: str) -> dict[str, Any]:
    return replay.run(["--from", str(lake), *flags, *QUIET]).to_dict()


def ids(lake: Path) -> list[int]:
    table = ds.dataset(lake, format="parquet", partitioning="hive").to_table()
    return sorted(table.column(ID).to_pylist())


def rejected(lake: Path, run_id: str) -> list[dict[str, Any]]:
    folder = lake / "_rejected" / run_id
    return pq.read_table(folder).to_pylist() if folder.is_dir() else []


def files_in(lake: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(lake.rglob("*")) if p.is_file()}


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    """A lake with four rows rejected of a CSV file: Marte, Sur, both no id and Marte, malformed."""
    sales = write(tmp_path / "a.csv", HEADER, "7,2024-05-03,1,Hogar,Norte", MARTE, SUR, BOTH, "1,2")
    take_in(tmp_path / "lake", sales)
    return tmp_path / "lake"


def test_each_format_comes_back(tmp_path: Path, runner: list[str]) -> None:
    csv = write(tmp_path / "a.csv", f"nota,{HEADER}", f'"x, ""y""",{MARTE}', "z,1")
    ndjson = write(
        tmp_path / "b.ndjson",
        json.dumps(dict(zip(COLUMN_NAMES, (9, "2024-05-04", 1.5, "Ropa", "Sur"), strict=True))),
        "{not json",
    )
    columns = (
        [10, -1],
        [datetime(2024, 5, 3)] * 2,
        [2.5, 1.0],
        ["Ropa"] * 2,
        ["Sur", "Norte"],
    )
    parquet = tmp_path / "c.parquet"
    pq.write_table(pa.table(dict(zip(COLUMN_NAMES, columns, strict=True))), parquet)
    lake = tmp_path / "lake"
    first = take_in(lake, csv, ndjson, parquet)
    before = {(r["source"], r["position"]): r for r in rejected(lake, first)}
    assert len(before) == 6

    found = again(lake, "--regions", "Norte,Sur,Marte", *runner)

    assert (found["rows_replayed"], found["rows_accepted"]) == (6, 3)
    assert found["replayed_by_reason"] == {"malformed": 2, "unknown": 3, "out_of_range": 1}
    assert found["rejected_again_by_reason"] == {"malformed": 2, "out_of_range": 1}
    assert (ids(lake), found["total"]) == ([8, 9, 10], "5.00")
    for row in rejected(lake, found["run_id"]):
        original = before[row["source"], row["position"]]
        assert (row["raw"], row["reasons"]) == (original["raw"], original["reasons"])
        assert (row["attempt"], original["attempt"]) == (2, 1)
        assert row["rejected_at"] > original["rejected_at"]
    assert verify(Lake.open(str(lake))).problems == ()


def test_twice_does_nothing(lake: Path) -> None:
    flags = ["--regions", "Norte,Marte", "--run_id", "r1"]
    first = again(lake, *flags)
    assert (first["rows_replayed"], first["rows_accepted"]) == (4, 1)
    there = files_in(lake)
    assert again(lake, *flags)["status"] == "already_committed"
    second = again(lake, *flags[:2])
    assert second["status"] == "nothing_to_replay"
    assert second["left_out"]["replayed_before"] == 4
    assert second["left_out"]["rejected_by_the_same_rules"] == 3
    assert files_in(lake) == there


def test_what_was_rejected_again_is_a_new_row(lake: Path) -> None:
    again(lake, "--regions", "Norte,Marte")
    found = again(lake, "--regions", "Norte,Marte,Sur")
    assert (found["rows_replayed"], found["rows_accepted"]) == (3, 1)
    assert {r["attempt"] for r in rejected(lake, found["run_id"])} == {3}
    assert ids(lake) == [7, 8, 9]
    forced = again(lake, "--regions", "Norte,Marte,Sur", "--again")
    assert (forced["rows_replayed"], forced["rows_accepted"]) == (2, 0)


def test_selections_that_overlap_take_a_row_once(lake: Path) -> None:
    one = again(lake, "--reason", "missing")
    assert (one["replayed_by_reason"], one["rows_accepted"]) == ({"missing": 1}, 0)
    assert one["left_out"]["not_asked_for"] == 3
    # Of two reasons the second was "unknown", and any region is accepted now.
    two = again(lake, "--reason", "unknown", "--reason", "missing")
    assert (two["rows_replayed"], two["rows_accepted"]) == (2, 2)
    assert two["left_out"]["replayed_before"] == 1
    assert ids(lake) == [7, 8, 9]


def test_rows_are_chosen_by_run_and_time(lake: Path, tmp_path: Path) -> None:
    second = take_in(lake, write(tmp_path / "b.csv", HEADER, "20,2024-05-03,1,Hogar,Luna"))
    started = datetime.fromisoformat(Lake.open(str(lake)).find(second).started_at)  # type: ignore[union-attr]
    soon = started + timedelta(seconds=1)
    assert again(lake, "--until", started.isoformat(), "--dry_run")["rows_replayed"] == 4
    assert again(lake, "--since", started.isoformat(), "--dry_run")["rows_replayed"] == 1
    assert again(lake, "--since", soon.isoformat())["status"] == "nothing_to_replay"
    assert again(lake, "--run", second)["rows_accepted"] == 1
    with pytest.raises(InputError, match=r"--run nada: .* has no such commit"):
        again(lake, "--run", "nada")


def test_a_fix_repairs(lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mend_regions.py").write_text(
        "import pyarrow as pa\n"
        "import pyarrow.compute as pc\n\n\n"
        "def mend(batch):\n"
        f"    at = batch.schema.get_field_index('{REGION}')\n"
        "    mended = pc.replace_substring(batch.column(at), 'Marte', 'Norte')\n"
        f"    return batch.set_column(at, '{REGION}', mended)\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(tmp_path)
    found = again(lake, "--regions", "Norte", "--fix", "mend_regions:mend")
    assert found["rejected_again_by_reason"] == {"malformed": 1, "missing": 1, "unknown": 1}
    assert (found["rows_accepted"], ids(lake)) == (1, [7, 8])
    with pytest.raises(ConfigError, match="--fix mend_regions:mand"):
        again(lake, "--fix", "mend_regions:mand")


def test_a_dry_run_changes_nothing(lake: Path) -> None:
    there = files_in(lake)
    found = again(lake, "--regions", "Norte,Marte", "--dry_run")
    assert files_in(lake) == there
    assert found["status"] == "dry_run"
    assert (found["rows_accepted"], found["total"]) == (1, "1.00")
    assert found["rejected_again_by_reason"] == {"malformed": 1, "missing": 1, "unknown": 1}
    assert len(found["examples"]) == 3
    real = again(lake, "--regions", "Norte,Marte")
    for name in ("rows_replayed", "rows_accepted", "rejected_again_by_reason", "total", "examples"):
        assert real[name] == found[name]


def test_a_file_that_is_gone_needs_a_header(lake: Path, tmp_path: Path) -> None:
    (tmp_path / "a.csv").unlink()
    with pytest.raises(ConfigError, match=r'is not there any more.*--csv_header "id_cliente,'):
        again(lake)
    with pytest.raises(UsageError, match="--csv_header: no column for"):
        again(lake, "--csv_header", "a,b,c,d,e")
    assert again(lake, "--csv_header", HEADER)["rows_accepted"] == 2
    assert list((lake / "_staging").glob("*")) == []


def test_a_file_that_changed_needs_a_header(lake: Path, tmp_path: Path) -> None:
    write(tmp_path / "a.csv", ",".join(reversed(COLUMN_NAMES)), "Norte,Hogar,1,2024-05-03,1")
    with pytest.raises(ConfigError, match="has changed since its rows were rejected"):
        again(lake)
    assert again(lake, "--csv_header", HEADER)["rows_accepted"] == 2


def test_what_cannot_be_replayed_stays(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    long = f'1,2024-05-03,1,"{"x" * 70_000}",Marte'
    sales = write(tmp_path / "a.csv", HEADER, long, MARTE)
    (tmp_path / "b.csv").write_bytes(b"PK\x03\x04")
    run_id = take_in(lake, sales, tmp_path / "b.csv", flags=("--bad_files", "set_aside"))
    assert len(rejected(lake, run_id)) == 3
    found = again(lake)
    assert (found["rows_replayed"], found["rows_accepted"]) == (1, 1)
    assert found["left_out"]["cannot_be_replayed"] == {"malformed": 1, "out_of_range": 1}
    assert len(rejected(lake, run_id)) == 3
    assert again(lake)["status"] == "nothing_to_replay"


def test_rows_of_an_overwritten_run_are_left_out(lake: Path, tmp_path: Path) -> None:
    (first,) = (m.run_id for m in Lake.open(str(lake)).runs())
    batch.run(["-i", str(tmp_path / "a.csv"), "-o", str(lake), "-f", "--regions", "Norte", *QUIET])
    found = again(lake)
    assert (found["rows_looked_at"], found["rows_accepted"], ids(lake)) == (4, 2, [7, 8, 9])
    assert found["left_out"]["of_replaced_commits"] == 4
    # Who asks for them by name gets them.
    assert again(lake, "--run", first, "--dry_run")["rows_replayed"] == 4


def test_of_two_at_once_one_gives_up(lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = replay_round._commit

    def other_first(*args: Any, **more: Any) -> None:
        monkeypatch.setattr(replay_round, "_commit", commit)
        assert again(lake, "--reason", "unknown", "--run_id", "quick")["rows_accepted"] == 2
        commit(*args, **more)

    monkeypatch.setattr(replay_round, "_commit", other_first)
    with pytest.raises(LakeConflictError, match=r"3 of the 4 rows .* were replayed by run quick"):
        again(lake, "--run_id", "slow")
    assert again(lake)["rows_replayed"] == 1
    assert ids(lake) == [7, 8, 9]
    assert list((lake / "_staging").glob("*")) == []
    assert verify(Lake.open(str(lake))).problems == ()


def test_an_overwrite_meanwhile_is_noticed(
    lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = replay_round._commit

    def overwrite_first(*args: Any, **more: Any) -> None:
        batch.run(["-i", str(tmp_path / "a.csv"), "-o", str(lake), "-f", *QUIET])
        commit(*args, **more)

    monkeypatch.setattr(replay_round, "_commit", overwrite_first)
    with pytest.raises(LakeConflictError, match="the lake was overwritten while"):
        again(lake)
    assert ids(lake) == [7, 8, 9]


@pytest.mark.parametrize("place", ["decide", "publish"])
def test_killed_and_run_again(lake: Path, place: str) -> None:
    """Killed just before its decision nothing has happened; just after it, everything has."""
    module = "commit.CommitLog.decide" if place == "decide" else "lake.publish"
    script = (
        "import os, sys\n"
        "from celes_beam.stores.lake import commit, lake\n"
        f"{module} = lambda *args, **more: os._exit(137)\n"
        "from pipelines.replay import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    flags = ["--from", str(lake), "--regions", "Norte,Marte", *QUIET]
    killed = subprocess.run([sys.executable, "-c", script, *flags], cwd=ROOT, check=False)
    assert killed.returncode == 137
    found = again(lake, "--regions", "Norte,Marte")
    assert found["status"] == ("committed" if place == "decide" else "nothing_to_replay")
    assert ids(lake) == [7, 8]
    assert again(lake, "--regions", "Norte,Marte")["status"] == "nothing_to_replay"
    replays = [m for m in Lake.open(str(lake)).runs() if m.replayed is not None]
    assert [m.rows_read for m in replays] == [4]
    assert verify(Lake.open(str(lake))).problems == ()


def test_a_lost_or_broken_list_is_told(lake: Path) -> None:
    found = again(lake)
    (listed,) = (lake / "_replayed" / found["run_id"]).iterdir()
    listed.write_bytes(b"not Parquet")
    assert len(verify(Lake.open(str(lake))).problems) == 1
    listed.unlink()
    assert "is gone" in verify(Lake.open(str(lake))).problems[0]


def test_the_command_line(lake: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    summary = tmp_path / "summary.json"
    flags = ["--from", str(lake), *QUIET]
    assert replay.main([*flags, "--summary_json", str(summary)]) == 0
    assert "rejected again" in capsys.readouterr().out
    written = json.loads(summary.read_text(encoding="utf-8"))
    assert written["rows_replayed"] == written["rows_accepted"] + written["rows_rejected_again"]
    assert replay.main(flags) == 0
    assert "Nothing to replay" in capsys.readouterr().out
    for wrong, told in (
        (["--from", str(tmp_path / "none")], "no lake is there"),
        (["--from", "p-project:d.ventas"], "say with --output which lake"),
        (
            ["--from", "p-project:d.ventas", "-o", str(lake), "--run", "r"],
            "does not tell which run",
        ),
        (["--from", "projects/p-project/subscriptions/dead"], "say with --output which lake"),
        ([*flags, "--max_messages", "5"], "is for a subscription"),
        ([*flags, "--since", "nunca"], "expected a time such as"),
        ([*flags, "--since", "2026-02-01", "--until", "2026-01-01"], "no row can be of then"),
        ([*flags, "--run_id", Lake.open(str(lake)).runs()[0].run_id], "which is no replay"),
    ):
        assert replay.main(wrong) == 2, wrong
        assert told in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_times_without_a_zone_are_utc() -> None:
    from celes_beam.commands.replay_options import _moment

    parse = _moment("--since")
    assert parse("2026-01-01") == datetime(2026, 1, 1, tzinfo=UTC)
    assert parse("2026-01-01T02:00+02:00") == datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.slow
def test_the_commands_of_the_page_run(tmp_path: Path) -> None:
    import os
    import re

    text = (ROOT / "docs" / "replay.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 3
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    ended = subprocess.run(
        ["bash", "-euc", "".join(blocks)],
        cwd=tmp_path,
        env=os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "Nothing to replay" in ended.stdout
    assert ids(tmp_path / "ventas-julio") == [1, 2, 3]
