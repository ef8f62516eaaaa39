"""What can go wrong while a board is looked after."""

from __future__ import annotations

from felinar.errors import FelinarError


class CareError(FelinarError):
    """A board can't be reached, is another one than expected, or does not do what it is asked."""


class LineLost(CareError):
    """The line went away while it was in use."""

    def __init__(self, device: str) -> None:
        super().__init__(
            f"{device} is gone: the cable was pulled, or the board has lost its supply.", "Plug it in again."
        )
