from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from celes_beam import cli

TOPIC = "projects/celes/topics/ventas"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ((), "the following arguments are required: --topic"),
        (("--topic", "ventas"), "--topic ventas: expected projects/PROJECT/topics/NAME"),
        (("--topic", TOPIC, "--rate", "-1"), "--rate -1: expected a number from 0 to 1,000,000"),
        (("--topic", TOPIC, "--rate", "nan"), "--rate nan: expected a number from 0 to"),
        (("--topic", TOPIC, "--rate", "fast"), "--rate fast: expected a number from 0 to"),
        (("--topic", TOPIC, "--duration", "0"), "--duration 0: expected a number from 0.1 to"),
        (("--topic", TOPIC, "--rows", "0"), "--rows 0: expected 1 or more"),
        (("--topic", TOPIC, "--first_row", "-1"), "--first_row -1: expected 0 or more"),
        (("--topic", TOPIC, "--rows_per_message", "0"), "--rows_per_message 0: expected 1 or more"),
        (("--topic", TOPIC, "--late_share", "2"), "--late_share 2: expected a share from 0 to 1"),
        (("--topic", TOPIC, "--error_rate", "x"), "--error_rate x: expected a share from 0 to 1"),
        (("--topic", TOPIC, "--seed", "-1"), "seed=-1: expected greater than or equal to 0"),
        (("--topic", TOPIC, "--categories", ","), "--categories ',': expected a comma list"),
        (("--topic", TOPIC, "--config", "no.yaml"), "--config no.yaml: no such file"),
        (("--topic", TOPIC, "--summary_json", "no/x"), "--summary_json no/x cannot be written"),
    ],
)
def test_wrong_use_is_one_line(
    argv: tuple[str, ...],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.delenv("PUBSUB_EMULATOR_HOST", raising=False)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["publish", *argv]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"celes-beam: {message}")
    assert err.count("\n") == 1


def test_help_answers_at_once() -> None:
    probe = (
        "import sys; from celes_beam.cli import main\n"
        "try: main(['publish', '--help'])\n"
        "finally: print({'pyarrow', 'rich', 'numpy', 'google.pubsub_v1'} & set(sys.modules))"
    )
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    # The bound is ten times what it takes, so that a busy machine does not fail it.
    assert time.monotonic() - started < 0.3 * 10
    assert done.stdout.endswith("set()\n")
    assert "--duplicate_share SHARE" in done.stdout
