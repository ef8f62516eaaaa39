"""One line and its supervisor: opened, served and opened again for as long as the daemon runs, whatever it does."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from felinar.clock import Clock
from felinar.config import LinkConfig
from felinar.errors import LinkError
from felinar.facts import Fact, Hello, Stale
from felinar.port import Port, open_port
from felinar.reconnect import State
from felinar.session import Order, Session
from felinar.supervisor import Supervisor, total

_CLEAN_S = 10.0
_DEAF_BYTES = 4096

Opener = Callable[[str, int, Callable[[bytes], None], Callable[[str], None]], Awaitable[Port]]


class Handler(Protocol):
    """Who is told what a line says and how it is."""

    def facts(self, link: Link, facts: list[Fact]) -> None: ...

    def link_changed(self, link: Link) -> None: ...


class Link(Supervisor):
    """A line. Nothing that happens on it reaches another one; `run` ends only with `stop`. Made in a running loop."""

    def __init__(
        self,
        config: LinkConfig,
        clock: Clock,
        handler: Handler,
        log: Any,
        *,
        opener: Opener = open_port,
        chance: Callable[[], float] = random.random,
    ) -> None:
        super().__init__(config.url, "line", clock, log.bind(link=config.url), chance)
        self._baud = config.baud
        self._handler = handler
        self._opener = opener
        self._session: Session | None = None
        self._port: Port | None = None
        self.first: asyncio.Future[LinkError | None] = asyncio.get_running_loop().create_future()
        """How the first try to open it ended: None, or why it could not be opened."""
        self._totals: dict[str, int] = {}
        self._dropped: dict[str, int] = {}
        self._bad = 0
        self._good_bytes = self._good_frames = 0
        self._dirty_since: float | None = None
        self._dirty_last = 0.0

    @property
    def nodes(self) -> tuple[int, ...]:
        """The nodes that have said HELLO since it was opened."""
        return self._session.nodes if self._session else ()

    @property
    def counts(self) -> dict[str, int]:
        """Frames and bytes both ways since the start."""
        return total(self._totals, {k: n for k, n in self._now_counts().items() if k.startswith(("frames", "bytes"))})

    @property
    def dropped(self) -> dict[str, int]:
        """What was dropped since the start, by reason."""
        return total(self._dropped, self._session.bad if self._session else {})

    # What the daemon asks

    def order(self, order: Order) -> None:
        """Send a command; the node must be on this line."""
        if self._session and order.node in self._session.nodes:
            self._session.order(order, self._clock.now())
            self._pump()

    def withdraw(self, node: int, id: int) -> None:
        """Stop sending a command."""
        if self._session:
            self._session.withdraw(node, id)

    def acknowledge(self, node: int, uid: str, boot: int, base: int, bitmap: int) -> None:
        """Tell a board what is stored; nothing if it is not on the line now, for it will ask by repeating."""
        if self._session:
            self._session.acknowledge(node, uid, boot, base, bitmap)
            self._pump()

    def ask_health(self, node: int) -> None:
        """Ask a node for HEALTH now."""
        if self._session:
            self._session.ask_health(node)
            self._pump()

    async def _open_and_serve(self) -> None:
        over: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._over = over
        self._port = await self._opener(self.url, self._baud, self._received, self._end)
        try:
            if self._stop.is_set():
                return
            now = self._clock.now()
            self._session = Session(now)
            self._bad = self._good_bytes = self._good_frames = 0
            self._reconnect.opened(now.mono)
            self.opened += 1
            self.reason = ""
            self._tried(None)
            self._said.pop("open", None)
            self._log.info("line opened")
            self._changed()
            self._pump()
            self.reason = await over
            if not self._stop.is_set():
                self._say("lost", "line lost", reason=self.reason)
        finally:
            if self._timer:
                self._timer.cancel()
            if self._session:
                self._totals, self._dropped = self.counts, self.dropped
            self._session = None
            port, self._port, self._over = self._port, None, None
            if port:
                await port.close()

    def _received(self, data: bytes) -> None:
        if self._session is None:
            return
        now = self._clock.now()
        self._guard(lambda session: self._act(session.receive(data, now)))
        self._watch(now.mono)
        self._pump()

    def _pump(self) -> None:
        """Let time act, write what is due, and come back when there is more."""
        self._guard(self._step)

    def _step(self, session: Session) -> None:
        now = self._clock.now()
        self._act(session.tick(now))
        data, facts = session.output(now)
        if data and self._port:
            self._port.write(data)
        self._act(facts)
        self._watch(now.mono)
        self._wake_in(session.wake() - now.mono, 0.01, self._pump)

    def _guard(self, work: Callable[[Session], None]) -> None:
        if self._session is None:
            return
        try:
            work(self._session)
        except Exception:  # see run: the line is closed and opened again
            self._fault()

    def _tried(self, outcome: LinkError | None) -> None:
        if not self.first.done():
            self.first.set_result(outcome)

    def _act(self, facts: list[Fact]) -> None:
        for fact in facts:
            if isinstance(fact, Hello):
                if self._reconnect.state in (State.OPEN, State.LIVE) and self._reconnect.heard():
                    self._log.info("node found", node=fact.node, boot=fact.boot, firmware=fact.firmware)
                    self._said.pop("lost", None)
                    self._changed()
            elif isinstance(fact, Stale):
                self._reconnect.stale()
                self._changed()
                self._end(f"its node left {fact.unanswered} pings unanswered")
        if facts:
            self._handler.facts(self, facts)

    def _watch(self, mono: float) -> None:
        """Say when a line is full of what nobody can read, and when it is clean again."""
        session = self._session
        if session is None:
            return
        bad = sum(session.bad.values())
        counts = session.counts
        if counts["frames_in"] > self._good_frames:
            self._good_frames, self._good_bytes = counts["frames_in"], counts["bytes_in"]
        deaf = counts["bytes_in"] - self._good_bytes > _DEAF_BYTES
        if bad > self._bad or deaf:
            self._say("garbage", "line carries garbage", dropped=session.bad, bytes=counts["bytes_in"])
            self._bad, self._good_bytes, self._dirty_last = bad, counts["bytes_in"], mono
            if self._dirty_since is None:
                self._dirty_since = mono
        elif self._dirty_since is not None and mono - self._dirty_last > _CLEAN_S:
            self._log.info("line is clean again", after_s=round(mono - self._dirty_since))
            self._dirty_since = None
            self._said.pop("garbage", None)

    def _tell(self) -> None:
        self._handler.link_changed(self)

    def _now_counts(self) -> dict[str, int]:
        return self._session.counts if self._session else {}
