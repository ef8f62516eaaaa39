"""The demo's account: what the nodes kept, what the host stored, and whether a lamp command was seen to work. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from felinar import api

Identity = tuple[int, int, int]
"""Address, boot, seq."""
_DONE = {"acknowledged", "measured"}


@dataclass(frozen=True)
class Account:
    """Kept messages (reports and events) from end to end, and the lamp commands.

    `nodes` are the lamps, `reported` those of which a report is stored. `sent` are the messages whose append to an outbox returned, by
    the simulator's own books; `stored` those in the host's store; `pending` those that still wait in an outbox, on the air
    for their lamp's next slot; `overdue` those of them that wait though they are on a wire; `lost` those in neither;
    `duplicated` those stored more than once.
    """

    nodes: int
    reported: int
    sent: int
    stored: int
    pending: int
    overdue: int
    lost: int
    duplicated: int
    commands: dict[str, int]

    @property
    def good(self) -> bool:
        """Everybody was heard, what is not stored waits where it may, and a lamp command was measured to have worked."""
        return (
            self.reported == self.nodes
            and self.sent > 0
            and self.stored + self.pending == self.sent
            and not (self.overdue or self.lost or self.duplicated)
            and self.commands.get("measured", 0) > 0
            and not set(self.commands) - _DONE
        )

    def as_dict(self) -> dict[str, object]:
        """Plain values for the summary line."""
        return asdict(self)


def settle(
    nodes: int,
    sent: Iterable[Identity],
    stored: Sequence[Identity],
    pending: int,
    overdue: int,
    same_time: int,
    reported: int,
    commands: Iterable[api.Command],
) -> Account:
    """Compare the two books. `pending` is what the nodes say still waits with them, `overdue` what of it is on a wire, `same_time`
    how many stored reports share node and time with another one: the same report under two identities."""
    kept, held = set(sent), set(stored)
    states: dict[str, int] = {}
    for command in commands:
        if command.what == "lamp":
            states[command.state] = states.get(command.state, 0) + 1
    return Account(
        nodes=nodes,
        reported=reported,
        sent=len(kept),
        stored=len(held),
        pending=pending,
        overdue=overdue,
        lost=max(0, len(kept - held) - pending),
        duplicated=len(stored) - len(held) + same_time,
        commands=dict(sorted(states.items())),
    )
