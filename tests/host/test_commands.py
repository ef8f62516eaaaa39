"""The life of a command, with a real store and the test's own time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from felinar.api import ConfigOrder, LampOrder
from felinar.commands import Commands, Record, WireOrder, from_row
from felinar.errors import CommandError, StoreError
from felinar.facts import OrderAnswered
from felinar.store import Row, SqliteStore, TimeSource
from felinar_wire import codec, schema

from tests.host.fake_clock import UNIX, FakeClock
from tests.host.fake_node import PLAIN

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


class Desk:
    """Commands with a store, and a line that only remembers."""

    def __init__(self, path: Path, clock: FakeClock) -> None:
        self.clock = clock
        self.store = SqliteStore(path, linger_s=0)
        self.delivered: list[WireOrder] = []
        self.withdrawn: list[tuple[int, int]] = []
        self.history: list[str] = []
        self.commands = Commands(
            self.store, clock, deliver=self.delivered.append, withdraw=lambda *pair: self.withdrawn.append(pair),
            changed=lambda command: self.history.append(command.state), pick=lambda n: n - 1,
        )  # fmt: skip
        run(self.commands.resume())

    def stored(self, id: int) -> Record:
        self.store._writer.submit(lambda _: None).result(10)  # what was written before is committed
        row = self.store.read_command(id).result(10)
        assert row is not None
        return from_row(row)

    def lamp(self, mode: Any, level: int | None = None, **more: Any) -> Record:
        return run(self.commands.lamp(1, LampOrder(mode, level, **more)))

    def answer(self, command: Record, code: int = schema.RESULT_APPLIED) -> None:
        self.commands.answered(OrderAnswered(1, command.wire_id, code, 60, 1, self.clock.unix))

    def report(self, full_w: float | None = 60.0, boot: int = 1, **values: Any) -> None:
        own: dict[str, Any] = {**PLAIN, "time": int(self.clock.unix) - schema.EPOCH_UNIX, **values}
        body = codec.encode(schema.REPORT, [own.get(f[0]) for f in schema.fields(schema.REPORT)])
        at = int(self.clock.unix)
        self.commands.reported(Row(at, 1, 1, boot, at, TimeSource.NODE, schema.VERSION, at, body), full_w)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path / "felinar.sqlite3", FakeClock())
    yield desk
    desk.store.close()


def test_a_command_is_stored_before_it_is_sent(tmp_path: Path, desk: Desk) -> None:
    command = desk.lamp("dim", 60, for_s=600, reason="maintenance")
    (order,) = desk.delivered
    assert desk.stored(command.id).state == "stored"
    assert order.values(UNIX) == [command.wire_id, schema.MODE_DIM, 60, 0, 600, schema.REASON_MAINTENANCE]
    assert order.values(UNIX + 100.5) == [command.wire_id, schema.MODE_DIM, 60, 0, 499, schema.REASON_MAINTENANCE]
    assert order.values(UNIX + 600) is None


async def fill(desk: Desk) -> None:
    while True:
        await desk.commands.lamp(1, LampOrder("on", reason="x" * 200))


def test_nothing_is_sent_that_could_not_be_stored(desk: Desk) -> None:
    pages = desk.store._connection.execute("PRAGMA page_count").fetchone()[0]
    desk.store._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreError, match="full"):
        run(asyncio.wait_for(fill(desk), 60))
    assert len(desk.delivered) == sum(state == "stored" for state in desk.history)


def test_acknowledged_then_measured_by_a_period_that_began_after_it(desk: Desk) -> None:
    desk.report(power=600)
    desk.clock.pass_(2)
    command = desk.lamp("dim", 60)
    desk.commands.sent(1, command.wire_id, 1)
    desk.answer(command)
    desk.clock.pass_(3)
    desk.report(dim=60, power=360)
    assert command.state == "acknowledged", "that period began before the command"
    desk.clock.pass_(5)
    desk.report(dim=60, power=360)
    assert desk.history == ["stored", "sent", "acknowledged", "measured"]
    saved = desk.stored(command.id)
    assert (saved.state, saved.power_w, saved.open) == ("measured", 36.0, False)


def test_a_fade_is_waited_for(desk: Desk) -> None:
    desk.report()
    command = desk.lamp("dim", 60, fade_s=10)
    desk.answer(command)
    for _ in range(3):
        desk.clock.pass_(5)
        desk.report(dim=60, power=360)
        if desk.clock.unix < UNIX + 15:
            assert command.state == "acknowledged"
    assert command.state == "measured"


def test_a_lamp_that_stays_dark_fails_after_three_reports_and_two_minutes(desk: Desk) -> None:
    desk.report()
    command = desk.lamp("on")
    desk.answer(command)
    for _ in range(23):
        desk.clock.pass_(5)
        desk.report(power=3)
        assert command.state == "acknowledged"
    desk.clock.pass_(5)
    desk.report(power=3)
    assert command.state == "failed"
    assert "0.3 W measured" in command.detail


def test_a_meter_that_lies_for_a_minute_does_not_fail_a_command(desk: Desk) -> None:
    desk.report()
    command = desk.lamp("off")
    desk.answer(command)
    for _ in range(12):
        desk.clock.pass_(5)
        desk.report(relay=0, power=600)
    desk.clock.pass_(5)
    desk.report(relay=0, power=4)
    assert command.state == "measured"


def test_a_node_without_a_meter_leaves_it_acknowledged(desk: Desk) -> None:
    desk.report(power=None)
    command = desk.lamp("on")
    desk.answer(command)
    for _ in range(4):
        desk.clock.pass_(5)
        desk.report(power=None)
    assert (command.state, command.open, command.detail) == ("acknowledged", False, "the node does not measure power")


def test_an_override_that_ends_unmeasured_stays_acknowledged(desk: Desk) -> None:
    command = desk.lamp("on", for_s=60)
    desk.answer(command)
    desk.clock.pass_(61)
    desk.commands.tick()
    assert (command.state, command.open) == ("acknowledged", False)
    assert "ended" in command.detail


@pytest.mark.parametrize(
    ("code", "state"),
    [
        (schema.RESULT_REFUSED, "refused"),
        (schema.RESULT_EXPIRED, "expired"),
        (schema.RESULT_UNKNOWN_KEY, "failed"),
        (schema.RESULT_OUT_OF_RANGE, "failed"),
        (9, "failed"),
    ],
)
def test_other_answers(desk: Desk, code: int, state: str) -> None:
    command = desk.lamp("on")
    desk.answer(command, code)
    saved = desk.stored(command.id)
    assert (saved.state, saved.open) == (state, False)
    assert saved.detail


def test_unanswered_commands_expire(desk: Desk) -> None:
    command = desk.lamp("off", for_s=30)
    desk.clock.pass_(31)
    desk.commands.tick()
    assert command.state == "expired"
    assert desk.withdrawn == [(1, command.wire_id)]
    second = desk.lamp("off", for_s=30)
    desk.commands.expired(1, second.wire_id)
    assert second.state == "expired"


def test_a_newer_command_takes_the_place_of_an_older_one(desk: Desk) -> None:
    older = desk.lamp("on")
    setting = run(desk.commands.config(1, ConfigOrder(60)))
    newer = desk.lamp("off")
    assert (older.state, newer.state, setting.state) == ("superseded", "stored", "stored")
    assert (1, older.wire_id) in desk.withdrawn
    assert str(newer.id) in older.detail


def test_a_setting_is_done_when_acknowledged(desk: Desk) -> None:
    command = run(desk.commands.config(1, ConfigOrder(0)))
    assert desk.delivered[-1].values(UNIX) == [command.wire_id, schema.CONFIG_REPORT_S, 0]
    desk.answer(command)
    assert (command.state, command.open) == ("acknowledged", False)


def test_open_commands_survive_a_restart_of_the_daemon(tmp_path: Path, desk: Desk) -> None:
    waiting, sent = desk.lamp("on"), run(desk.commands.config(1, ConfigOrder(5)))
    desk.commands.sent(1, sent.wire_id, 1)
    other = run(desk.commands.lamp(2, LampOrder("dim", 60)))
    desk.commands.answered(OrderAnswered(2, other.wire_id, 0, 60, 1, UNIX))
    desk.store.close()
    again = Desk(tmp_path / "felinar.sqlite3", FakeClock(UNIX + 10))
    try:
        assert [order.id for order in again.commands.waiting(1)] == [waiting.wire_id, sent.wire_id]
        assert again.commands.waiting(2) == []
        found = again.commands.fresh().get(other.id)
        assert found is not None
        assert found.state == "acknowledged"
        newer = again.lamp("off")
        assert newer.id == other.id + 1
        assert newer.wire_id not in (waiting.wire_id, sent.wire_id)
    finally:
        again.store.close()


def test_wire_numbers_begin_anywhere_and_wrap(desk: Desk) -> None:
    assert [desk.lamp("on").wire_id for _ in range(3)] == [0xFFFF, 1, 2]


def test_a_state_that_could_not_be_saved_is_saved_later(desk: Desk) -> None:
    command = desk.lamp("on")
    desk.store._writer.metrics.trouble = "disk full"
    desk.store._writer._retry_at = float("inf")
    desk.answer(command)
    with pytest.raises(StoreError):
        desk.store._writer.submit(lambda _: None).result(10)
    desk.store._writer._retry_at = 0.0
    desk.commands.tick()
    assert desk.stored(command.id).state == "acknowledged"


def test_a_command_is_told_as_it_is_while_the_store_is_still_writing(desk: Desk) -> None:
    command = desk.lamp("on")
    going_on = threading.Event()
    desk.store._writer.submit(lambda _: going_on.wait(10))
    desk.answer(command, schema.RESULT_REFUSED)
    row = desk.store.read_command(command.id).result(10)
    assert row is not None
    assert from_row(row).state == "stored"
    assert desk.commands.fresh()[command.id].state == "refused"
    going_on.set()
    assert desk.stored(command.id).state == "refused"
    assert desk.commands.fresh() == {}


@pytest.mark.parametrize(
    "order",
    [
        LampOrder("dim"),
        LampOrder("dim", 0),
        LampOrder("dim", 101),
        LampOrder("on", 50),
        LampOrder("on", for_s=0),
        LampOrder("on", for_s=10_000_000),
        LampOrder("on", fade_s=9999),
        LampOrder("on", reason="x" * 201),
    ],
)
def test_nonsense_is_refused(desk: Desk, order: LampOrder) -> None:
    with pytest.raises(CommandError) as caught:
        run(desk.commands.lamp(1, order))
    assert caught.value.remedy
    assert desk.delivered == []


def test_a_report_period_out_of_range_is_refused(desk: Desk) -> None:
    with pytest.raises(CommandError, match="86400"):
        run(desk.commands.config(1, ConfigOrder(-1)))
