"""What can go wrong between a plan and a labelled board."""

from __future__ import annotations

from felinar.errors import FelinarError
from felinar.flash.catalogue import CATALOGUE


class ProvisionError(FelinarError):
    """A plan that can't be read, a ledger that can't be opened, or a board that must not get what was asked for it.

    `code` is one of the flashing catalogue's; without a remedy of its own an error has that of its entry.
    """

    def __init__(self, sentence: str, remedy: str = "", *, code: str, asked_wrongly: bool = False) -> None:
        super().__init__(sentence, remedy or CATALOGUE[code].action)
        self.code = code
        if asked_wrongly:
            self.exit_status = 2
