"""The demo's account: what the nodes kept, what the host stored, and whether a lamp command was seen to work. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from felinar import api

Identity = tuple[int, int, int]
"""Address, boot, seq."""


@dataclass(frozen=True)
class Account:
    """Kept messages (reports and events) from end to end, and the lamp commands.

    `sent` are the messages whose append to an outbox returned, by the simulator's own books; `stored` those in the
    host's store; `pending` those that still wait in an outbox; `lost` those in neither; `duplicated` those stored more than once.
    """

    nodes: int
    sent: int
    stored: int
    pending: int
    lost: int
    duplicated: int
    commands: dict[str, int]

    @property
    def good(self) -> bool:
        """Nothing lost, duplicated or left pending, and a lamp command was measured to have worked."""
        return (
            self.sent > 0
            and self.stored == self.sent
            and not (self.pending or self.lost or self.duplicated)
            and self.commands.get("measured", 0) > 0
        )

    def as_dict(self) -> dict[str, object]:
        """Plain values for the summary line."""
        return asdict(self)


def settle(
    nodes: int,
    sent: Iterable[Identity],
    stored: Sequence[Identity],
    pending: int,
    same_time: int,
    commands: Iterable[api.Command],
) -> Account:
    """Compare the two books. `pending` is what the nodes say still waits with them, `same_time`
    how many stored reports share node and time with another one: the same report under two identities."""
    kept, held = set(sent), set(stored)
    states: dict[str, int] = {}
    for command in commands:
        if command.what == "lamp":
            states[command.state] = states.get(command.state, 0) + 1
    return Account(
        nodes=nodes,
        sent=len(kept),
        stored=len(held),
        pending=pending,
        lost=max(0, len(kept - held) - pending),
        duplicated=len(stored) - len(held) + same_time,
        commands=states,
    )
