"""What can go wrong between a plan and a labelled board."""

from __future__ import annotations

from felinar.errors import FelinarError


class ProvisionError(FelinarError):
    """A plan that can't be read, a ledger that can't be opened, or a board that must not get what was asked for it.

    `code` is a word for programs, as the flashing catalogue has one for each of its entries.
    """

    def __init__(
        self, sentence: str, remedy: str = "", *, code: str = "provision", asked_wrongly: bool = False
    ) -> None:
        super().__init__(sentence, remedy)
        self.code = code
        if asked_wrongly:
            self.exit_status = 2
