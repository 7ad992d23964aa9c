"""What is true of any messages, whatever they hold."""

from __future__ import annotations

import gzip
import pickle
from itertools import pairwise
from typing import Any

from celes_beam.contract import MAX_RAW_BYTES
from celes_beam.sales.messages import CheckedMessages, MessageRules, Messages, check_messages

Row = tuple[int, int, dict[str, Any]]
"""Index of the message, position (of an accepted row its number), and the row itself."""


def obey_laws(messages: Messages, rules: MessageRules) -> None:
    """Check messages, and that the answer is what it must be; raises ``AssertionError`` if not."""
    checked = check_messages(messages, rules)
    assert checked.messages == len(messages)
    assert checked.rows == checked.accepted.num_rows + checked.rejected.num_rows
    checked.accepted.validate(full=True)
    checked.rejected.validate(full=True)
    checked.accepted_ids.validate(full=True)
    accepted, rejected = _accepted(checked), _rejected(checked)
    _are_of_their_messages(accepted, rejected, messages, checked)
    again = check_messages(pickle.loads(pickle.dumps(messages)), rules)
    assert (_accepted(again), _rejected(again)) == (accepted, rejected)
    if rules.transform is None:
        _are_the_same_one_by_one(accepted, rejected, messages, rules, checked)


def _accepted(checked: CheckedMessages) -> list[Row]:
    others = checked.other_fields
    found = []
    for i, (name, row) in enumerate(
        zip(checked.accepted_ids.to_pylist(), checked.accepted.to_pylist(), strict=True)
    ):
        index, _, number = name.removeprefix("m").partition("/")
        kept = None if others is None else others[i].as_py()
        found.append((int(index), int(number or 0), {**row, "other": kept}))
    return found


def _rejected(checked: CheckedMessages) -> list[Row]:
    return [
        (message, row["position"], {**row, "whole": whole})
        for message, row, whole in zip(
            checked.rejected_messages.tolist(),
            checked.rejected.to_pylist(),
            checked.rejected_whole.tolist(),
            strict=True,
        )
    ]


def _are_of_their_messages(
    accepted: list[Row], rejected: list[Row], messages: Messages, checked: CheckedMessages
) -> None:
    indexes = sorted([row[0] for row in accepted] + [row[0] for row in rejected])
    assert sorted(set(indexes)) == list(range(len(messages)))
    for rows in (accepted, rejected):
        assert all(one[:2] < other[:2] for one, other in pairwise(rows))
    names = checked.accepted_ids.to_pylist()
    assert len(set(names)) == len(names)
    for index, position, row in rejected:
        assert row["source"].endswith(f"/{messages.ids[index]}")
        assert row["whole"] == (indexes.count(index) == 1)
        assert row["reasons"]
        data = messages.data[index]
        if messages.attributes[index].get("content-encoding") == "gzip":
            try:
                data = gzip.decompress(data)
            except Exception:  # noqa: BLE001 - then it is kept as it came
                assert (position, row["reasons"]) == (0, ["malformed"])
        assert len(row["raw"]) <= MAX_RAW_BYTES
        assert data[position:].startswith(row["raw"])


def _are_the_same_one_by_one(
    accepted: list[Row],
    rejected: list[Row],
    messages: Messages,
    rules: MessageRules,
    checked: CheckedMessages,
) -> None:
    unknown = 0
    alone: tuple[list[Row], list[Row]] = ([], [])
    for i, data in enumerate(messages.data):
        # With the newest publish time of all, which bounds dates.
        one = Messages([data], [messages.attributes[i]], [messages.ids[i]], [messages.newest])
        found = check_messages(one, rules)
        unknown += found.rows_with_unknown_fields
        alone[0].extend(_accepted(found))
        alone[1].extend((i, position, row) for _, position, row in _rejected(found))
    assert alone == (accepted, rejected)
    assert unknown == checked.rows_with_unknown_fields
