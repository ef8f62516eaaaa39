"""The demo's account tells each way in which a run can be bad."""

from __future__ import annotations

import pytest
from felinar import api
from felinar_demo.account import Account, settle

SENT = [(1, 1, 1), (1, 1, 2), (2, 1, 1)]


def command(state: str, what: str = "lamp") -> api.Command:
    return api.Command(1, 1, what, state, False, "", "")  # type: ignore[arg-type]


def account(
    stored: list[tuple[int, int, int]] = SENT,
    *,
    pending: int = 0,
    overdue: int = 0,
    same: int = 0,
    reported: int = 2,
    states: tuple[str, ...] = ("measured",),
) -> Account:
    commands = [*map(command, states), command("refused", "config")]
    return settle(2, SENT, stored, pending, overdue, same, reported, commands)


def test_a_good_run() -> None:
    assert account(states=("measured", "acknowledged")).good
    assert account().as_dict() == {
        "nodes": 2, "reported": 2, "sent": 3, "stored": 3, "pending": 0, "overdue": 0, "lost": 0, "duplicated": 0,
        "commands": {"measured": 1},
    }  # fmt: skip


def test_what_waits_for_its_slot_is_not_lost() -> None:
    waiting = account(SENT[:2], pending=1)
    assert waiting.good
    assert (waiting.stored, waiting.pending, waiting.lost) == (2, 1, 0)


@pytest.mark.parametrize(
    ("bad", "field", "value"),
    [
        (account(SENT[:2]), "lost", 1),
        (account(SENT[:1], pending=1), "lost", 1),
        (account(SENT[:2], pending=1, overdue=1), "overdue", 1),
        (account(pending=1), "pending", 1),
        (account([*SENT, SENT[0]]), "duplicated", 1),
        (account(same=1), "duplicated", 1),
        (account([*SENT, (1, 1, 3)]), "stored", 4),
        (account(reported=1), "reported", 1),
        (account(states=("acknowledged",)), "commands", {"acknowledged": 1}),
        (account(states=("measured", "failed")), "commands", {"failed": 1, "measured": 1}),
        (account(states=()), "commands", {}),
    ],
)
def test_a_bad_run(bad: Account, field: str, value: object) -> None:
    assert not bad.good
    assert bad.as_dict()[field] == value


def test_nothing_sent_is_not_good() -> None:
    assert not settle(3, [], [], 0, 0, 0, 3, [command("measured")]).good
