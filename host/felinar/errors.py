"""What can go wrong on the host, one type a layer: a sentence that says what happened, and a remedy."""

from __future__ import annotations


class FelinarError(Exception):
    """Base of the host's errors. `sentence` says what happened, `remedy` what to do about it (may be empty)."""

    exit_status = 1

    def __init__(self, sentence: str, remedy: str = "") -> None:
        super().__init__(f"{sentence} {remedy}".strip())
        self.sentence = sentence
        self.remedy = remedy


class ConfigError(FelinarError):
    """The configuration can't be read, or says something that can't be."""

    exit_status = 2


class LinkError(FelinarError):
    """A line to a node or bridge can't be opened or was lost. `fatal`: trying again can't help (a malformed URL)."""

    def __init__(self, sentence: str, remedy: str = "", *, fatal: bool = False) -> None:
        super().__init__(sentence, remedy)
        self.fatal = fatal


class StoreError(FelinarError):
    """The database can't be opened, read or written. Nothing that was refused has been acknowledged or changed."""


class CommandError(FelinarError):
    """A command that can't be given: unknown node, level out of range, not a known mode. `status`: of HTTP."""

    def __init__(self, sentence: str, remedy: str = "", *, status: int = 400) -> None:
        super().__init__(sentence, remedy)
        self.status = status


class ControlError(FelinarError):
    """The control interface can't be served: its address is taken, not loopback, or another daemon runs."""


class ClientError(FelinarError):
    """The daemon can't be reached or answered with an error. `status` is the HTTP status, 0 when there was none."""

    def __init__(self, sentence: str, remedy: str = "", *, status: int = 0) -> None:
        super().__init__(sentence, remedy)
        self.status = status
