"""How a daemon is reached: what it writes into its run folder, and the command line finds there."""

from __future__ import annotations

import msgspec

ADDRESS_FILE = "address.json"


class Address(msgspec.Struct, frozen=True):
    """A Unix socket, or a loopback URL with the file of the token that each request must bear."""

    pid: int
    socket: str | None = None
    url: str = "http://felinar"
    token_file: str | None = None
