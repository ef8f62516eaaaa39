"""A line's supervisor in the test's own time: opened, lost, found again, and what it says meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from felinar.config import LinkConfig
from felinar.errors import LinkError
from felinar.facts import Fact, Hello
from felinar.link import Link
from felinar.reconnect import FIRST_S, LAST_S, STEADY_S, Reconnect, State

from tests.host.fake_clock import FakeClock
from tests.host.fake_node import FakeNode


class Log:
    """Remembers what was said."""

    def __init__(self) -> None:
        self.said: list[tuple[str, dict[str, Any]]] = []

    def bind(self, **_: Any) -> Log:
        return self

    def __getattr__(self, level: str) -> Callable[..., None]:
        return lambda event, **details: self.said.append((event, details))

    def count(self, event: str) -> int:
        return sum(said == event for said, _ in self.said)


class Cable:
    """An opened port of a fake cable."""

    def __init__(self, received: Callable[[bytes], None], lost: Callable[[str], None]) -> None:
        self.received = received
        self.lost = lost
        self.written = bytearray()
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written += data

    async def close(self) -> None:
        self.closed = True


class Bench:
    """A link, what it opens, and whom it tells."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.log = Log()
        self.cables: list[Cable] = []
        self.refuse: LinkError | None = None
        self.heard: list[Fact] = []
        self.states: list[State] = []
        self.link = Link(
            LinkConfig("/dev/fake"), self.clock, self, self.log, opener=self.open, chance=lambda: -1.0
        )  # no wait
        self.task = asyncio.create_task(self.link.run())

    async def open(self, url: str, baud: int, received: Callable[[bytes], None], lost: Callable[[str], None]) -> Cable:
        if self.refuse:
            raise self.refuse
        self.cables.append(Cable(received, lost))
        return self.cables[-1]

    def facts(self, link: Link, facts: list[Fact]) -> None:
        self.heard += facts

    def link_changed(self, link: Link) -> None:
        self.states.append(link.state)

    async def cable(self, number: int = 1) -> Cable:
        await self.wait(lambda: len(self.cables) >= number, f"opening {number}")
        return self.cables[number - 1]

    async def wait(self, condition: Callable[[], object], what: str) -> None:
        for _ in range(2000):
            if condition():
                return
            await asyncio.sleep(0.005)
        raise AssertionError(f"waited in vain for {what}")


def bench(work: Callable[[Bench], Awaitable[None]]) -> Bench:
    async def run() -> Bench:
        one = Bench()
        try:
            await work(one)
        finally:
            one.link.stop()
            await asyncio.wait_for(one.task, 5)
        return one

    return asyncio.run(run())


def test_a_node_found_makes_the_line_live() -> None:
    async def work(b: Bench) -> None:
        cable = await b.cable()
        assert cable.written, "the node is asked who it is"
        node = FakeNode()
        node.hello()
        cable.received(node.take())
        assert b.link.state is State.LIVE
        assert b.link.nodes == (1,)

    b = bench(work)
    assert b.states == [State.OPEN, State.LIVE, State.STOPPED]
    assert b.cables[0].closed
    assert [type(fact) for fact in b.heard] == [Hello]
    assert b.link.counts["frames_in"] == 1


def test_a_line_that_is_lost_is_opened_again_and_its_figures_go_on() -> None:
    async def work(b: Bench) -> None:
        for number in (1, 2, 3):
            cable = await b.cable(number)
            node = FakeNode()
            node.hello()
            cable.received(node.take() + b"\x01\x01\0")
            cable.lost("the cable or adapter is gone")
        await b.cable(4)

    b = bench(work)
    assert b.link.opened == 4
    assert b.link.counts["frames_in"] == 3
    assert sum(b.link.dropped.values()) == 3
    assert all(cable.closed for cable in b.cables)


def test_a_lasting_trouble_is_said_once_a_minute() -> None:
    async def work(b: Bench) -> None:
        (await b.cable()).lost("gone")
        b.refuse = LinkError("There is no port /dev/fake.", "Plug it in.")
        await b.wait(lambda: b.link.reason.startswith("There is no port"), "the refusal")
        failures = b.link._reconnect.failures
        await b.wait(lambda: b.link._reconnect.failures >= failures + 2, "more tries")
        assert b.log.count("line can't be opened") == 1
        b.clock.pass_(61)
        await b.wait(lambda: b.log.count("line can't be opened") == 2, "the second warning")
        b.refuse = None
        await b.cable(2)
        assert b.link.reason == ""

    bench(work)


def test_a_stale_line_is_closed_and_opened_again() -> None:
    async def work(b: Bench) -> None:
        cable = await b.cable()
        node = FakeNode()
        node.hello()
        cable.received(node.take())
        for _ in range(60):
            b.clock.pass_(4)
            b.link._pump()
            if b.link.state is not State.LIVE:
                break
        again = await b.cable(2)
        assert cable.closed
        assert b.log.count("line lost") == 1
        node.hello()
        again.received(node.take())
        assert b.link.state is State.LIVE

    b = bench(work)
    assert State.STALE in b.states


def test_garbage_is_said_once_and_so_is_its_end() -> None:
    async def work(b: Bench) -> None:
        cable = await b.cable()
        for _ in range(50):
            cable.received(b"\x55garbage\0" * 20)
            b.clock.pass_(0.5)
        assert b.log.count("line carries garbage") == 1
        node = FakeNode()
        node.hello()
        cable.received(b"\0" + node.take())
        assert b.link.state is State.LIVE
        b.clock.pass_(11)
        b.link._pump()
        assert b.log.count("line is clean again") == 1

    b = bench(work)
    assert sum(b.link.dropped.values()) == 1000


def test_a_flood_without_a_single_frame_is_garbage_too() -> None:
    async def work(b: Bench) -> None:
        cable = await b.cable()
        for _ in range(10):
            cable.received(b"\xff" * 1000)
        assert b.log.count("line carries garbage") == 1

    bench(work)


def test_a_fault_of_ours_closes_the_line_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(b: Bench) -> None:
        cable = await b.cable()
        monkeypatch.setattr(b, "facts", lambda link, facts: 1 / 0)
        node = FakeNode()
        node.hello()
        cable.received(node.take())
        await b.cable(2)
        assert b.log.count("line failed") == 1

    bench(work)


def test_the_first_try_is_told_to_who_waits_for_it() -> None:
    async def work(b: Bench) -> None:
        b.refuse = LinkError("There is no port /dev/fake.", "Plug it in.")
        assert await b.link.first is b.refuse

    bench(work)


def test_back_off_doubles_with_jitter_up_to_its_limit() -> None:
    for chance, part in ((0.0, 0.5), (1.0, 1.0)):
        line = Reconnect(lambda chance=chance: chance)  # type: ignore[misc]
        waits = []
        for _ in range(9):
            line.opening()
            waits.append(line.closed(0))
        assert waits[:4] == [FIRST_S * part * 2**i for i in range(4)]
        assert waits[-1] == LAST_S * part


def test_a_steady_line_is_tried_at_once_a_flapping_one_is_not() -> None:
    line = Reconnect(lambda: 1.0)
    for _ in range(4):
        line.opening()
        line.opened(0)
        wait = line.closed(1)
    assert wait == FIRST_S * 8
    line.opening()
    line.opened(10)
    assert line.closed(10 + STEADY_S) == FIRST_S


def test_states_follow_each_other_as_they_can() -> None:
    line = Reconnect(lambda: 0.0)
    with pytest.raises(ValueError, match="waiting"):
        line.opened(0)
    line.opening()
    line.opened(0)
    assert line.heard()
    assert not line.heard()
    line.stale()
    with pytest.raises(ValueError, match="stale"):
        line.heard()
