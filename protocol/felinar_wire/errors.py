"""The one exception of the wire layer."""


class WireError(Exception):
    """Bytes or values that are not a valid message; `reason` is one short word, fit for a counter's name."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
