"""What keeps a board from being tested at all."""

from __future__ import annotations

from felinar.errors import FelinarError


class BoardTestError(FelinarError):
    """The board can't be tested. `asked_wrongly`: what was asked for does not exist."""

    def __init__(self, sentence: str, remedy: str = "", *, asked_wrongly: bool = False) -> None:
        super().__init__(sentence, remedy)
        if asked_wrongly:
            self.exit_status = 2
