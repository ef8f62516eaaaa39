"""The demo's account tells each way in which a run can be bad."""

from __future__ import annotations

import pytest
from felinar import api
from felinar_demo.account import settle

SENT = [(1, 1, 1), (1, 1, 2), (2, 1, 1)]


def command(state: str, what: str = "lamp") -> api.Command:
    return api.Command(1, 1, what, state, False, "", "")  # type: ignore[arg-type]


def test_a_good_run() -> None:
    account = settle(2, SENT, SENT, 0, 0, [command("measured"), command("acknowledged", "config")])
    assert account.good
    assert account.as_dict() == {
        "nodes": 2, "sent": 3, "stored": 3, "pending": 0, "lost": 0, "duplicated": 0, "commands": {"measured": 1},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("stored", "pending", "same", "state", "field", "value"),
    [
        (SENT[:2], 0, 0, "measured", "lost", 1),
        (SENT[:2], 1, 0, "measured", "pending", 1),
        (SENT[:2], 1, 0, "measured", "lost", 0),
        ([*SENT, SENT[0]], 0, 0, "measured", "duplicated", 1),
        (SENT, 0, 1, "measured", "duplicated", 1),
        ([*SENT, (1, 1, 3)], 0, 0, "measured", "stored", 4),
        (SENT, 0, 0, "acknowledged", "commands", {"acknowledged": 1}),
        (SENT, 0, 0, "failed", "commands", {"failed": 1}),
    ],
)
def test_a_bad_run(
    stored: list[tuple[int, int, int]], pending: int, same: int, state: str, field: str, value: object
) -> None:
    account = settle(2, SENT, stored, pending, same, [command(state)])
    assert not account.good
    assert account.as_dict()[field] == value


def test_nothing_sent_is_not_good() -> None:
    assert not settle(3, [], [], 0, 0, [command("measured")]).good
