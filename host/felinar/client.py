"""Talks to the daemon: every request of the control interface as a typed method."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
import msgspec

from felinar import api
from felinar.config import Config
from felinar.control_address import ADDRESS_FILE, Address
from felinar.errors import ClientError
from felinar.uds import ShortPath

T = TypeVar("T")
Happening = tuple[str, "api.Reading | api.Node | api.NodeEvent | api.Command | api.Link | None"]

_KINDS: dict[str, Any] = {
    "reading": api.Reading,
    "node": api.Node,
    "event": api.NodeEvent,
    "command": api.Command,
    "link": api.Link,
}
_START = "Start it with: felinar daemon --port /dev/ttyUSB0"


def find(config: Config) -> Address:
    """How the daemon of a data directory is reached. Raises ClientError when none runs there."""
    file = config.run / ADDRESS_FILE
    try:
        return msgspec.json.decode(file.read_bytes(), type=Address)
    except FileNotFoundError:
        raise ClientError(f"No daemon is running on {config.directory}.", _START) from None
    except (OSError, msgspec.MsgspecError) as error:
        raise ClientError(f"The daemon's address in {file} can't be read: {error}.", _START) from error


class Client:
    """A connection to one daemon. Every method raises ClientError. Use as a context manager."""

    def __init__(self, address: Address, *, timeout_s: float = 10.0) -> None:
        self._short = ShortPath(Path(address.socket)) if address.socket else None
        headers = {}
        if address.token_file:
            try:
                headers["Authorization"] = f"Bearer {Path(address.token_file).read_text()}"
            except OSError as error:
                raise ClientError(f"The token {address.token_file} can't be read: {error.strerror}.", _START) from error
        transport = httpx.HTTPTransport(uds=self._short.path) if self._short else None
        self._http = httpx.Client(base_url=address.url, transport=transport, headers=headers, timeout=timeout_s)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self._http.close()
        if self._short:
            self._short.close()

    def status(self) -> api.Status:
        """The daemon, its lines, its counters."""
        return self._get("/v1/status", api.Status)

    def nodes(self) -> list[api.Node]:
        """All nodes with their newest values."""
        return self._get("/v1/nodes", list[api.Node])

    def readings(
        self,
        *,
        node: int | None = None,
        since: int | None = None,
        until: int | None = None,
        limit: int | None = None,
        newest: bool = False,
    ) -> Iterator[api.Reading]:
        """Readings with since <= time < until (Unix seconds), oldest first, at most `limit`; fetched page by page."""
        after: str | None = None
        left = limit
        while left is None or left > 0:
            size = 1000 if left is None else min(left, 10_000 if newest else 1000)
            query = {"node": node, "since": since, "until": until, "after": after, "limit": size}
            if newest:
                query["newest"] = "true"
            page = self._get("/v1/readings", api.ReadingPage, **query)
            yield from page.readings
            after = page.after
            if after is None:
                return
            left = None if left is None else left - len(page.readings)

    def events(self, *, node: int | None = None, since: int | None = None, limit: int = 100) -> list[api.NodeEvent]:
        """The newest events, oldest first."""
        return self._get("/v1/events", list[api.NodeEvent], node=node, since=since, limit=limit)

    def lamp(self, node: int, order: api.LampOrder) -> api.Command:
        """Command a lamp; returns as soon as the command is stored."""
        return self._post(f"/v1/nodes/{node}/lamp", order, api.Command)

    def group_lamp(self, group: int | str, order: api.LampOrder) -> api.GroupCommand:
        """Command all lamps of a group, by its address or a plan's name for it; returns as soon as it is queued."""
        return self._post(f"/v1/groups/{quote(str(group), safe='')}/lamp", order, api.GroupCommand)

    def config(self, node: int, order: api.ConfigOrder) -> api.Command:
        """Set a node; returns as soon as the command is stored."""
        return self._post(f"/v1/nodes/{node}/config", order, api.Command)

    def health(self, node: int) -> api.Health:
        """Ask a node for its account now."""
        return self._get(f"/v1/nodes/{node}/health", api.Health)

    def command(self, id: int) -> api.Command:
        """A command as it is now."""
        return self._get(f"/v1/commands/{id}", api.Command)

    def commands(self, *, node: int | None = None, limit: int = 100) -> list[api.Command]:
        """The newest commands, oldest first."""
        return self._get("/v1/commands", list[api.Command], node=node, limit=limit)

    def stream(self, *, idle_s: float = 40.0) -> Iterator[Happening]:
        """What happens, as it happens; ("", None) once at the beginning and when nothing does. Ends with the daemon."""
        try:
            with self._http.stream("GET", "/v1/stream", timeout=httpx.Timeout(10, read=idle_s)) as answer:
                if answer.status_code != 200:
                    answer.read()
                    self._raise(answer)
                kind = ""
                for line in answer.iter_lines():
                    if line.startswith("event: "):
                        kind = line[7:]
                    elif line.startswith("data: ") and kind in _KINDS:
                        yield kind, msgspec.json.decode(line[6:], type=_KINDS[kind])
                    elif line.startswith(":"):
                        yield "", None
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error

    def _get(self, path: str, kind: type[T], **query: Any) -> T:
        known = {key: value for key, value in query.items() if value is not None}
        return self._answer(lambda: self._http.get(path, params=known), kind)

    def _post(self, path: str, body: msgspec.Struct, kind: type[T]) -> T:
        content = msgspec.json.encode(body)
        headers = {"Content-Type": "application/json"}
        return self._answer(lambda: self._http.post(path, content=content, headers=headers), kind)

    def _answer(self, ask: Any, kind: type[T]) -> T:
        try:
            answer: httpx.Response = ask()
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        if answer.status_code >= 400:
            self._raise(answer)
        try:
            return msgspec.json.decode(answer.content, type=kind)
        except msgspec.MsgspecError as error:
            raise ClientError(
                f"The daemon's answer is not understood: {error}.", "Are daemon and command line of one version?"
            ) from error

    @staticmethod
    def _raise(answer: httpx.Response) -> None:
        try:
            problem = msgspec.json.decode(answer.content, type=api.Problem)
        except msgspec.MsgspecError:
            problem = api.Problem(f"The daemon answered with status {answer.status_code}.", "Look into its log.")
        raise ClientError(problem.error, problem.remedy, status=answer.status_code)

    @staticmethod
    def _unreachable(error: httpx.HTTPError) -> ClientError:
        if isinstance(error, httpx.TimeoutException):
            return ClientError("The daemon does not answer in time.", "Look into its log.")
        return ClientError("The daemon is not running, or ended just now.", _START)
