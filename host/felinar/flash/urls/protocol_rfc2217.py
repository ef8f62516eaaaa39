"""RFC 2217 as pySerial has it, but for the read timeout: setting one is no matter of the far end.

pySerial's own class negotiates rate and format anew with every timeout that is set and waits for it, a tenth of a second;
esptool sets two for every command, which would more than double the time of a write.
"""

from __future__ import annotations

from serial import rfc2217

_AGREE_S = 10.0


class Serial(rfc2217.Serial):  # type: ignore[misc]
    """A port at the far end of a network."""

    def from_url(self, url: str) -> tuple[str, int]:
        """Host and port; the far end, which may be busy, has 10 s to agree, not 3, unless the URL says otherwise."""
        found: tuple[str, int] = super().from_url(url)
        if "timeout=" not in url:
            self._network_timeout = _AGREE_S
        return found

    @property
    def timeout(self) -> float | None:
        """Seconds that a read waits at most; None for ever."""
        seconds: float | None = self._timeout
        return seconds

    @timeout.setter
    def timeout(self, seconds: float | None) -> None:
        if seconds is not None and seconds < 0:
            raise ValueError(f"Not a valid timeout: {seconds!r}")
        self._timeout = seconds
