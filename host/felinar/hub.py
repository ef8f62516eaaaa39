"""Where everything meets: what lines tell goes to the store and the listeners, what people order goes to the lines."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, Protocol

from felinar_wire import schema

from felinar import api
from felinar.air.service import AirService
from felinar.bodies import times
from felinar.clock import Clock, iso
from felinar.commands import Commands, WireOrder
from felinar.config import Config
from felinar.errors import CommandError
from felinar.facts import Fact, Health, Hello, Kept, OrderAnswered, OrderExpired, OrderSent
from felinar.live_bus import Bus
from felinar.measured import learn_full
from felinar.readings import event, number, reading
from felinar.reconnect import State
from felinar.store import BoardView, Commit, Outcome, Row, Store
from felinar.tables import RELEASED, History
from felinar.tables.history import NAMES, UNANNOUNCED

_SAY_AGAIN_S = 60.0
_BOOTS = 1000  # of each board, whose schema version is remembered


class Way(Protocol):
    """How nodes are reached: a line of theirs, or a bridge."""

    url: str
    opened: int
    since: float
    reason: str

    @property
    def state(self) -> State: ...
    @property
    def nodes(self) -> tuple[int, ...]: ...
    @property
    def counts(self) -> dict[str, int]: ...
    @property
    def dropped(self) -> dict[str, int]: ...
    def order(self, order: WireOrder) -> None: ...
    def withdraw(self, node: int, id: int) -> None: ...
    def acknowledge(self, node: int, uid: str, boot: int, base: int, bitmap: int) -> None: ...
    def ask_health(self, node: int) -> None: ...


class Hub:
    """Routes facts and orders. Lives in one event loop, except for what the store calls back."""

    def __init__(self, config: Config, store: Store, clock: Clock, log: Any, *, history: History = RELEASED) -> None:
        self.bus = Bus()
        self.links: list[Way] = []
        self.air: AirService | None = None
        self.unstored = 0
        """Messages that the store has turned away; their nodes keep and repeat them."""
        self._config = config
        self._store = store
        self._clock = clock
        self._log = log
        self._history = history
        self._loop = asyncio.get_running_loop()
        self._route: dict[int, Way] = {}
        self._full: dict[int, float] = {view.id: view.full_w for view in store.boards() if view.full_w}
        self._asking: dict[int, list[asyncio.Future[Health]]] = {}
        self._uid: dict[int, str] = {}
        self._shown: dict[int, api.Reading] = {}
        self._said_conflict: dict[int, float] = {}
        self._said_mismatch: dict[int, str] = {}
        self._versions: dict[tuple[int, str], dict[int, int]] = {}
        for view in store.boards():
            if view.boot is not None and view.schema is not None:
                self._versions.setdefault((view.node, view.uid), {})[view.boot] = view.schema
        self.commands = Commands(
            store, clock, deliver=self._deliver, withdraw=self._withdraw,
            changed=lambda record: self.bus.publish("command", record.view()),
        )  # fmt: skip

    # What lines tell

    def facts(self, link: Way, facts: list[Fact]) -> None:
        """Act upon what a line has told."""
        kept = [self._identified(fact) for fact in facts if isinstance(fact, Kept)]
        for fact in facts:
            match fact:
                case Hello():
                    self._hello(link, fact)
                case Health():
                    self._health(fact)
                case OrderSent():
                    self.commands.sent(fact.node, fact.id, fact.tries)
                case OrderAnswered():
                    self.commands.answered(fact)
                case OrderExpired():
                    self.commands.expired(fact.node, fact.id)
        if kept:
            self._store.keep(kept).add_done_callback(lambda done: self._from_store(self._kept, link, len(kept), done))

    def _identified(self, message: Kept) -> Kept:
        """A message of a boot that the line has not heard of, but this daemon has: with what made its body."""
        if message.schema != UNANNOUNCED:
            return message
        version = self._versions.get((message.node, message.uid), {}).get(message.boot)
        if version is None:
            return message
        time, up = times(version, message.kind, message.body, self._history) or (None, None)
        return replace(message, schema=version, time=time, up=up)

    def link_changed(self, link: Way) -> None:
        """Forget the ways over a line that is closed, and tell the listeners."""
        for node, way in list(self._route.items()):
            if way is link and node not in link.nodes:
                others = [other for other in self.links if node in other.nodes]
                if others:
                    self._take_route(node, others[0])
                else:
                    del self._route[node]
                    self._publish_node(node)
        self.bus.publish("link", self.link_view(link))

    def _hello(self, link: Way, hello: Hello) -> None:
        noted = self._store.note_hello(hello, self._clock.now().unix)
        known = self._uid.setdefault(hello.node, hello.uid)
        if known != hello.uid:
            self._uid[hello.node] = hello.uid
            mono = self._clock.now().mono
            if mono - self._said_conflict.get(hello.node, float("-inf")) >= _SAY_AGAIN_S:
                self._said_conflict[hello.node] = mono
                self._log.warning("node is another board now", node=hello.node, board=hello.uid, before=known)
        boots = self._versions.setdefault((hello.node, hello.uid), {})
        boots[hello.boot] = hello.schema
        if len(boots) > _BOOTS:
            del boots[next(iter(boots))]
        words = self._history.mismatch(hello.node, hello.schema)
        if words and self._said_mismatch.get(hello.node) != words:
            self._log.warning("node speaks another schema", node=hello.node, schema=hello.schema, reason=words)
        self._said_mismatch[hello.node] = words
        if hello.new or self._route.get(hello.node) is not link:
            self._take_route(hello.node, link)
            # A board that nobody knew is told once the store has it.
            noted.add_done_callback(lambda done: self._from_store(self._publish_node, hello.node))

    def _take_route(self, node: int, link: Way) -> None:
        self._route[node] = link
        for order in self.commands.waiting(node):
            link.order(order)
        self._publish_node(node)

    def _health(self, health: Health) -> None:
        self._store.note_health(health).add_done_callback(
            lambda done: self._from_store(self._health_noted, health, done)
        )

    def _health_noted(self, health: Health, done: Future[None]) -> None:
        if done.exception() is None:
            self._publish_node(health.node)
        for waiting in self._asking.pop(health.node, []):
            if not waiting.done():
                waiting.set_result(health)

    def _kept(self, link: Way, count: int, done: Future[Commit]) -> None:
        if done.exception() is not None:  # the store has said why; nothing is acknowledged
            self.unstored += count
            return
        commit = done.result()
        for (node, uid, boot, base), bitmap in commit.acknowledgements.items():
            link.acknowledge(node, uid, boot, base, bitmap)
        for receipt in commit.receipts:
            if receipt.outcome is not Outcome.STORED:
                continue
            if receipt.message.kind == schema.REPORT:
                self._reported(receipt.row, receipt.message.uid)
            else:
                self.bus.publish("event", event(receipt.row, receipt.message.uid, self._history))

    def _reported(self, row: Row, uid: str) -> None:
        shown = reading(row, uid, self.name(row.node), self._history)
        self.bus.publish("reading", shown)
        values = shown.values
        if values is not None:
            before = self._full.get(row.board)
            relay, dim, power = (number(values, name) for name in ("relay", "dim", "power"))
            full = learn_full(before, relay=relay, dim=dim, power_w=power)
            if full is not None and full != before:
                self._full[row.board] = full
                if before is None or abs(full - before) > before / 100:
                    self._store.note_full_power(row.board, full)
        self.commands.reported(row, self.full_power(row.node, row.board))

    def _from_store(self, what: Any, *arguments: Any) -> None:
        """Carry a store's answer from its thread into the loop."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(what, *arguments)

    def last_number(self, node: int) -> int | None:
        """The number by which a node knows its newest command, None when it never got one."""
        return self.commands.last_number(node)

    # What people order

    async def lamp(self, node: int, order: api.LampOrder) -> api.Command:
        """Command a lamp. Raises CommandError, StoreError."""
        self._must_understand(node, schema.LAMP_SET)
        return (await self.commands.lamp(node, order)).view()

    async def config(self, node: int, order: api.ConfigOrder) -> api.Command:
        """Set a node. Raises CommandError, StoreError."""
        self._must_understand(node, schema.CONFIG)
        return (await self.commands.config(node, order)).view()

    def group_lamp(self, group: int | str, order: api.LampOrder) -> api.GroupCommand:
        """Command the lamps of a group. Raises CommandError."""
        if self.air is None:
            raise CommandError(
                "No bridge is configured.", "Groups are reached by radio: name a [[bridge]].", status=503
            )
        return self.air.group(group, order)

    async def ask_health(self, node: int, timeout_s: float = 5.0) -> api.Health:
        """Ask a node for its account now. Raises CommandError when it doesn't answer."""
        self._must_understand(node, schema.HEALTH)
        link = self._route.get(node)
        if link is not None:
            waiting: asyncio.Future[Health] = self._loop.create_future()
            self._asking.setdefault(node, []).append(waiting)
            link.ask_health(node)
            try:
                return _health(await asyncio.wait_for(waiting, timeout_s))
            except TimeoutError:
                pass
        raise CommandError(f"Node {node} does not answer.", "Look at its line: felinar nodes.", status=504)

    def _deliver(self, order: WireOrder) -> None:
        if link := self._route.get(order.node):
            link.order(order)

    def _withdraw(self, node: int, wire_id: int) -> None:
        for link in self.links:
            link.withdraw(node, wire_id)

    def _must_know(self, node: int) -> None:
        if node not in self._config.nodes and all(view.node != node for view in self._store.boards()):
            raise CommandError(f"No node {node} is known.", "felinar nodes lists those that are.", status=404)

    def _must_understand(self, node: int, kind: int) -> None:
        self._must_know(node)
        views = [view for view in self._store.boards() if view.node == node]
        version = _newest(views).schema if views else None
        able = self._history.readable if kind == schema.HEALTH else self._history.sayable
        if version is not None and not able(version, kind):
            words = self._history.mismatch(node, version)
            words = words or f"node {node} speaks schema {version}, which has no {NAMES[kind]}: update the node"
            words, _, remedy = words.rpartition(": ")
            raise CommandError(f"{words[:1].upper()}{words[1:]}.", f"{remedy[:1].upper()}{remedy[1:]}.", status=409)

    # What people see

    def name(self, node: int) -> str | None:
        """A node's name in the configuration."""
        known = self._config.nodes.get(node)
        return known.name if known else None

    def full_power(self, node: int, board: int) -> float | None:
        """What a node's lamp takes at full level, W: as configured, else as learnt."""
        known = self._config.nodes.get(node)
        return known.lamp_w if known and known.lamp_w else self._full.get(board)

    def uids(self) -> dict[int, str]:
        """The chip's number of each board."""
        return {view.id: view.uid for view in self._store.boards()}

    def nodes(self) -> list[api.Node]:
        """Every node that was ever heard, by address."""
        grouped: dict[int, list[BoardView]] = {}
        for view in self._store.boards():
            grouped.setdefault(view.node, []).append(view)
        return [self._node(node, grouped[node]) for node in sorted(grouped)]

    def link_view(self, link: Way) -> api.Link:
        """A line as the interface shows it."""
        return api.Link(
            url=link.url, state=link.state.value, since=iso(link.since), nodes=sorted(link.nodes), opened=link.opened,
            counts=link.counts, dropped=link.dropped, reason=link.reason,
        )  # fmt: skip

    def _publish_node(self, node: int) -> None:
        if self.bus.listeners:
            views = [view for view in self._store.boards() if view.node == node]
            if views:
                self.bus.publish("node", self._node(node, views))

    def _node(self, node: int, views: Sequence[BoardView]) -> api.Node:
        link = self._route.get(node)
        now = _newest(views)
        reports, events = sum(v.reports for v in views), sum(v.events for v in views)
        pending = now.health.values.get("pending") if now.health else None
        return api.Node(
            node=node, board=now.uid, boards=len(views), last_heard=iso(now.last_heard),
            online=link is not None and link.state is State.LIVE,
            stored=reports + events, reports=reports, events=events,
            duplicates=sum(v.duplicates for v in views), same_time=sum(v.same_time for v in views),
            gaps=sum(v.missing for v in views), made=sum(v.made for v in views), dropped=sum(v.dropped for v in views),
            pending=pending, name=self.name(node), link=link.url if link else None, firmware=now.firmware,
            schema=now.schema, mismatch=self._history.mismatch(node, now.schema) if now.schema is not None else "",
            boot=now.boot, lamp_w=self.full_power(node, now.id),
            health=_health(now.health) if now.health else None,
            latest=self._latest(now), radio=self.air.radio(node) if self.air else None,
        )  # fmt: skip

    def _latest(self, view: BoardView) -> api.Reading | None:
        """A board's newest reading; shown once and kept, for a city of them is asked for again and again."""
        row = view.latest
        if row is None:
            return None
        shown = self._shown.get(view.id)
        if shown is None or (shown.boot, shown.seq) != (row.boot, row.seq):
            shown = self._shown[view.id] = reading(row, view.uid, self.name(view.node), self._history)
        return shown


def _newest(views: Sequence[BoardView]) -> BoardView:
    """The board that was heard last at an address."""
    return max(views, key=lambda view: (view.last_heard, view.id))


def _health(health: Health) -> api.Health:
    return api.Health(heard=iso(health.heard), boot=health.boot, values=dict(health.values))
