"""The live view: a thread listens to the daemon, the terminal shows the street as it is."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Any

import msgspec
from rich.console import Console
from rich.live import Live

from felinar import api, show
from felinar.client import Client, Happening
from felinar.errors import ClientError

_REFRESH_S = 0.5


class Street:
    """The nodes as last heard of."""

    def __init__(self, nodes: list[api.Node]) -> None:
        self._nodes = {node.node: node for node in nodes}

    @property
    def nodes(self) -> list[api.Node]:
        """By address."""
        return [self._nodes[node] for node in sorted(self._nodes)]

    def take(self, happening: Happening) -> None:
        """Act upon something that happened."""
        _, what = happening
        if isinstance(what, api.Node):
            self._nodes[what.node] = what
        elif isinstance(what, api.Reading) and (node := self._nodes.get(what.node)):
            newer = node.latest is None or what.time >= node.latest.time
            latest = what if newer else node.latest
            self._nodes[what.node] = msgspec.structs.replace(node, latest=latest, last_heard=what.heard)


class Listener:
    """Listens in a thread of its own; `take` gives what happened, an exception when the daemon is gone."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._heard: queue.Queue[Happening | ClientError | None] = queue.Queue()
        threading.Thread(target=self._listen, name="felinar-live", daemon=True).start()

    def take(self, timeout_s: float) -> Happening | None:
        """The next thing that happened, None when nothing did in time. Raises ClientError when the stream ended."""
        try:
            heard = self._heard.get(timeout=timeout_s)
        except queue.Empty:
            return None
        if heard is None:
            raise ClientError("The daemon ended.", "Start it again with: felinar daemon")
        if isinstance(heard, ClientError):
            raise heard
        return heard

    def _listen(self) -> None:
        try:
            for happening in self._client.stream():
                self._heard.put(happening)
            self._heard.put(None)
        except ClientError as error:
            self._heard.put(error)


def watch(
    client: Client,
    console: Console,
    *,
    seconds: float | None,
    clock: Callable[[], float] = time.monotonic,
    wall: Callable[[], float] = time.time,
) -> list[api.Node]:
    """Show the street until `seconds` are over, the daemon ends (ClientError) or Ctrl-C; returns it as it was last."""
    listener = Listener(client)
    while (first := listener.take(10)) is not None and first[0]:
        pass  # the stream says that it has begun before it says anything else
    street = Street(client.nodes())
    end = None if seconds is None else clock() + seconds
    if console.is_terminal:
        _watch_table(listener, street, console, end, clock, wall)
    else:
        _watch_lines(listener, street, console, end, clock)
    return street.nodes


def _left(end: float | None, clock: Callable[[], float]) -> float:
    return _REFRESH_S if end is None else min(_REFRESH_S, end - clock())


def _watch_table(
    listener: Listener, street: Street, console: Console, end: float | None, clock: Any, wall: Any
) -> None:
    with Live(console=console, auto_refresh=False, screen=False) as live:
        drawn = float("-inf")
        while (left := _left(end, clock)) > 0:
            live_now = clock()
            if live_now - drawn >= _REFRESH_S:
                live.update(show.live_table(street.nodes, wall(), title="felinar live"), refresh=True)
                drawn = live_now
            happening = listener.take(min(left, max(0.01, drawn + _REFRESH_S - live_now)))
            if happening:
                street.take(happening)
        live.update(show.live_table(street.nodes, wall(), title="felinar live"), refresh=True)


def _watch_lines(listener: Listener, street: Street, console: Console, end: float | None, clock: Any) -> None:
    for node in street.nodes:
        if node.latest:
            console.print(show.plain_line(node.latest), soft_wrap=True, markup=False, highlight=False)
    while (left := _left(end, clock)) > 0:
        happening = listener.take(left)
        if happening:
            street.take(happening)
            if isinstance(happening[1], api.Reading):
                console.print(show.plain_line(happening[1]), soft_wrap=True, markup=False, highlight=False)
