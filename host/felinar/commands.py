"""The life of a command: stored, sent, acknowledged, measured; or refused, expired, failed, superseded."""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Literal

import msgspec
from felinar_wire import schema

from felinar import api
from felinar.api import ConfigOrder, LampOrder, Mode, State
from felinar.clock import Clock, iso
from felinar.errors import CommandError, StoreError
from felinar.facts import OrderAnswered
from felinar.measured import judge
from felinar.readings import number, report
from felinar.store import CommandRow, Row, Store

DEFAULT_FOR_S = 1800
LONGEST_FOR_S = 7 * 86_400
_REACH_S = 3600.0
"""How long a command that does not end by itself is tried."""
_CONTRARY = 3
_CONTRARY_S = 120.0
"""That many reports over that long must speak against a command before it has failed: a meter can lie for a minute."""
MODES = {
    "auto": schema.MODE_AUTO,
    "on": schema.MODE_ON,
    "off": schema.MODE_OFF,
    "dim": schema.MODE_DIM,
}
REASONS = {
    "schedule": schema.REASON_SCHEDULE,
    "maintenance": schema.REASON_MAINTENANCE,
    "emergency": schema.REASON_EMERGENCY,
}
_ANSWERS = {
    schema.RESULT_REFUSED: ("refused", "the node refused it"),
    schema.RESULT_EXPIRED: ("expired", "it reached the node too late"),
    schema.RESULT_UNKNOWN_KEY: ("failed", "the node does not know that setting"),
    schema.RESULT_OUT_OF_RANGE: ("failed", "the node does not accept that value"),
}


class Record(msgspec.Struct):
    """A command as it is kept; times in Unix seconds, the rest as in `felinar.api.Command`.

    `wire_id` is the 16-bit number by which the node knows it.
    """

    id: int
    node: int
    wire_id: int
    what: Literal["lamp", "config"]
    state: State
    open: bool
    created: float
    expires: float
    mode: Mode | None = None
    level: int | None = None
    fade_s: int = 0
    for_s: int | None = None
    key: str | None = None
    value: int | None = None
    reason: str = ""
    tries: int = 0
    sent: float | None = None
    answered: float | None = None
    level_then: int | None = None
    relay_then: int | None = None
    measured: float | None = None
    power_w: float | None = None
    detail: str = ""

    def view(self) -> api.Command:
        """As the interface shows it."""
        values = {name: getattr(self, name) for name in self.__struct_fields__ if name != "wire_id"}
        for name in ("created", "expires", "sent", "answered", "measured"):
            values[name] = None if values[name] is None else iso(values[name])
        return api.Command(**values)


@dataclass(frozen=True, slots=True)
class WireOrder:
    """A command as a session sends it (see `felinar.session.Order`)."""

    command: Record
    node: int
    id: int
    kind: int

    @classmethod
    def of(cls, command: Record) -> WireOrder:
        kind = schema.LAMP_SET if command.what == "lamp" else schema.CONFIG
        return cls(command, command.node, command.wire_id, kind)

    def values(self, unix: float) -> list[int] | None:
        """What to send at that Unix time, None once it has expired. A lamp order tells what is left of its time."""
        c = self.command
        if unix >= c.expires:
            return None
        if c.what == "config":
            return [c.wire_id, schema.CONFIG_REPORT_S, c.value or 0]
        left = 0 if c.mode == "auto" else max(1, int(c.expires - unix))
        level = {"on": 100, "off": 0}.get(c.mode or "", c.level or 0)
        return [c.wire_id, MODES[c.mode or "auto"], level, c.fade_s, left, REASONS.get(c.reason, 0)]


@dataclass(slots=True)
class _Trial:
    """How the reports since a command's acknowledgement have spoken."""

    contrary: int = 0
    silent: int = 0


class Commands:
    """Every open command, and the way in for new ones.

    `deliver` hands an order to the line of its node if there is one now, `withdraw` takes it back, `changed` is told
    every change of state.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        deliver: Callable[[WireOrder], None],
        withdraw: Callable[[int, int], None],
        changed: Callable[[Record], None],
        pick: Callable[[int], int] = secrets.randbelow,
    ) -> None:
        self._store = store
        self._clock = clock
        self._deliver = deliver
        self._withdraw = withdraw
        self._changed = changed
        self._pick = pick
        self._open: dict[int, Record] = {}
        self._trials: dict[int, _Trial] = {}
        self._saving: dict[
            int, tuple[Record, Future[None]]
        ] = {}  # what the store does not hold yet, with the newest attempt
        self._saving_lock = threading.Lock()  # the store answers from its own thread
        self._previous: dict[tuple[int, int], int] = {}
        self._last_id, self._last_wire = store.last_ids()
        self.totals: dict[str, int] = {}
        """Commands by state since the daemon started, as they are now."""

    async def resume(self) -> None:
        """Take up what an earlier run of the daemon left open."""
        rows = await asyncio.wrap_future(self._store.read_commands(node=None, open_only=True, limit=100_000))
        for row in rows:
            command = msgspec.json.decode(row.document, type=Record)
            self._open[command.id] = command
            self._count(command, None)

    def waiting(self, node: int) -> list[WireOrder]:
        """What is to be sent to a node that has just been found, oldest first."""
        return [WireOrder.of(c) for c in self._open.values() if c.node == node and c.state in ("stored", "sent")]

    def fresh(self) -> dict[int, Record]:
        """Commands that the store may not know as they are now: the open ones, and those whose last change it has not kept
        yet. Take it before the store is read, and prefer it."""
        with self._saving_lock:
            saving = {id: command for id, (command, _) in self._saving.items()}
        return {**saving, **self._open}

    async def lamp(self, node: int, order: LampOrder) -> Record:
        """Store a lamp command and send it. CommandError for what makes no sense, StoreError if it can't be kept."""
        if order.mode == "dim" and (order.level is None or not 1 <= order.level <= 100):
            raise CommandError("A lamp is dimmed to 1 to 100 %.", "Give a level, for example 60.")
        if order.mode != "dim" and order.level is not None:
            raise CommandError(f"'{order.mode}' has no level.", "Leave it out, or use dim.")
        for_s = order.for_s if order.for_s is not None else DEFAULT_FOR_S
        if not 1 <= for_s <= LONGEST_FOR_S:
            raise CommandError(
                f"A lamp command holds for 1 s to {LONGEST_FOR_S // 86_400} days.", "Give a time within."
            )
        if not 0 <= order.fade_s <= 3600:
            raise CommandError("A lamp fades within 0 to 3600 s.", "Give a time within.")
        if len(order.reason) > 200:
            raise CommandError("A reason has at most 200 characters.", "Shorten it.")
        now = self._clock.now().unix
        command = self._new(node, "lamp", now + (_REACH_S if order.mode == "auto" else for_s))
        command.mode, command.level, command.fade_s, command.reason = (
            order.mode,
            order.level,
            order.fade_s,
            order.reason,
        )
        command.for_s = None if order.mode == "auto" else for_s
        return await self._give(command)

    async def config(self, node: int, order: ConfigOrder) -> Record:
        """Store a configuration command and send it. Raises CommandError and StoreError as `lamp` does."""
        if not 0 <= order.report_s <= 86_400:
            raise CommandError("A report period is 1 to 86400 s, or 0 to stop sampling.", "Give a period within.")
        command = self._new(node, "config", self._clock.now().unix + _REACH_S)
        command.key, command.value = "report_s", order.report_s
        return await self._give(command)

    def sent(self, node: int, wire_id: int, tries: int) -> None:
        """It went out."""
        if command := self._find(node, wire_id):
            command.tries = tries
            command.sent = command.sent or self._clock.now().unix
            if command.state == "stored":
                self._move(command, "sent")
            else:
                self._save(command)

    def answered(self, answer: OrderAnswered) -> None:
        """The node has answered."""
        command = self._find(answer.node, answer.id)
        if command is None:
            return
        command.answered = answer.heard
        command.level_then, command.relay_then = answer.level, answer.relay
        if answer.code == schema.RESULT_APPLIED:
            self._trials[command.id] = _Trial()
            self._move(command, "acknowledged", keep=command.what == "lamp")
            return
        state, words = _ANSWERS.get(answer.code, ("failed", f"the node answered with code {answer.code}"))
        self._move(command, state, words)

    def expired(self, node: int, wire_id: int) -> None:
        """Its time ran out before the node answered."""
        if command := self._find(node, wire_id):
            self._move(command, "expired", "the node did not answer in time")

    def reported(self, row: Row, full_w: float | None) -> None:
        """A report was stored: does it show what was ordered?

        Only a report of a period that began after the order was carried out counts, and a period begins no earlier than
        the one before it was reported. So two reports must follow the acknowledgement (and the fade).
        """
        key = row.board, row.boot
        previous = self._previous.get(key)
        if previous is not None and row.time <= previous:
            return
        self._previous[key] = row.time
        if previous is None:
            return
        for command in [c for c in self._open.values() if c.node == row.node and c.state == "acknowledged"]:
            begins = (command.answered or 0.0) + command.fade_s
            if previous >= begins and row.time <= (command.expires if command.for_s else row.time):
                self._judge(command, row, full_w, begins)

    def tick(self) -> None:
        """Let time act: commands that nobody can receive any more, and those that ended before they were measured."""
        now = self._clock.now().unix
        with self._saving_lock:
            failed = [command for command, attempt in self._saving.values() if attempt.done() and attempt.exception()]
        for command in failed:
            self._save(command)
        for command in [c for c in self._open.values() if now >= c.expires]:
            if command.state == "acknowledged":
                self._move(command, "acknowledged", "it ended before a report could show it")
            else:
                self._withdraw(command.node, command.wire_id)
                self._move(command, "expired", "the node did not answer in time")

    def _judge(self, command: Record, row: Row, full_w: float | None, begins: float) -> None:
        values = report(row)
        trial = self._trials.setdefault(command.id, _Trial())
        power = number(values, "power")
        verdict = judge(
            command.mode or "auto", command.level, relay=number(values, "relay"), dim=number(values, "dim"),
            power_w=power, full_w=full_w,
        )  # fmt: skip
        if verdict.fits:
            command.measured, command.power_w = row.time, power
            self._move(command, "measured", verdict.words)
        elif verdict.fits is None:
            trial.silent += 1
            if trial.silent >= _CONTRARY and not trial.contrary:
                self._move(command, "acknowledged", "the node does not measure power")
        else:
            trial.contrary += 1
            command.power_w = power
            if trial.contrary >= _CONTRARY and row.time - begins >= _CONTRARY_S:
                self._move(command, "failed", f"acknowledged, but {verdict.words}")

    def last_number(self, node: int) -> int | None:
        """The number by which a node knows its newest command, None when it never got one."""
        return self._last_wire.get(node)

    def _new(self, node: int, what: str, expires: float) -> Record:
        self._last_id += 1
        # A node answers a repeated number with its first answer and does nothing: a host that has lost its memory must
        # not begin at a number that the node may still remember.
        last = self._last_wire.get(node)
        wire_id = 1 + (self._pick(0xFFFF) if last is None else last % 0xFFFF)
        self._last_wire[node] = wire_id
        return Record(
            id=self._last_id, node=node, wire_id=wire_id, what=what, state="stored", open=True,  # type: ignore[arg-type]
            created=self._clock.now().unix, expires=expires,
        )  # fmt: skip

    async def _give(self, command: Record) -> Record:
        await asyncio.wrap_future(self._store.put_command(_row(command)))
        self._supersede(command)
        self._open[command.id] = command
        self._count(command, None)
        self._changed(command)
        self._deliver(WireOrder.of(command))
        return command

    def _supersede(self, newer: Record) -> None:
        for command in [c for c in self._open.values() if (c.node, c.what) == (newer.node, newer.what)]:
            if command.id < newer.id:
                self._withdraw(command.node, command.wire_id)
                self._move(command, "superseded", f"command {newer.id} followed before it was done")

    def _find(self, node: int, wire_id: int) -> Record | None:
        for command in self._open.values():
            if (command.node, command.wire_id) == (node, wire_id) and command.state in ("stored", "sent"):
                return command
        return None

    def _move(self, command: Record, state: str, detail: str = "", *, keep: bool = False) -> None:
        before = command.state
        command.state = state  # type: ignore[assignment]
        command.detail = detail
        command.open = keep or state == "sent"
        if not command.open:
            self._open.pop(command.id, None)
            self._trials.pop(command.id, None)
        self._count(command, before)
        self._save(command)
        self._changed(command)

    def _save(self, command: Record) -> None:
        def done(attempt: Future[None]) -> None:
            with self._saving_lock:
                newest = self._saving.get(command.id)
                if attempt.exception() is None and newest is not None and newest[1] is attempt:
                    del self._saving[command.id]

        attempt = self._store.put_command(_row(command))
        with self._saving_lock:
            self._saving[command.id] = command, attempt
        attempt.add_done_callback(done)

    def _count(self, command: Record, before: str | None) -> None:
        if before is not None:
            self.totals[before] = self.totals.get(before, 0) - 1
        self.totals[command.state] = self.totals.get(command.state, 0) + 1


def _row(command: Record) -> CommandRow:
    return CommandRow(command.id, command.node, command.wire_id, command.open, msgspec.json.encode(command))


def from_row(row: CommandRow) -> Record:
    """A command as stored. Raises StoreError when its document can't be read."""
    try:
        return msgspec.json.decode(row.document, type=Record)
    except msgspec.MsgspecError as error:
        raise StoreError(f"Command {row.id} can't be read: {error}.") from error
