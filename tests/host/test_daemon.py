"""The whole daemon in one process: nodes on pseudo-terminals and sockets, people on the control interface."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
import structlog
from felinar import api
from felinar.client import Client, find
from felinar.config import Config, ControlConfig, LinkConfig, NodeConfig
from felinar.daemon import Daemon, DirectoryLock
from felinar.errors import ClientError, CommandError, ControlError, LinkError
from felinar_wire import schema

from tests.host.fake_node import FakeNode
from tests.host.wires import PtyWire, SocketWire, Wire

T = TypeVar("T")


class Log:
    """A structlog logger that remembers."""

    def __init__(self) -> None:
        self.said: list[dict[str, Any]] = []
        self.logger = structlog.wrap_logger(None, processors=[self._keep])

    def _keep(self, _: Any, level: str, event: dict[str, Any]) -> Any:
        self.said.append({"level": level, **event})
        raise structlog.DropEvent

    def count(self, event: str, **more: Any) -> int:
        return sum(said["event"] == event and more.items() <= said.items() for said in self.said)


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def wires() -> Iterator[list[Wire]]:
    opened: list[Wire] = []
    yield opened
    for wire in opened:
        if not wire._ended:
            wire.close()


def config(folder: Path, wires: list[Any], **more: Any) -> Config:
    links = tuple(LinkConfig(wire.url) for wire in wires)
    return Config(data_dir=str(folder / "data"), link=links, nodes={1: NodeConfig("Strada Unirii 1")}, **more)


@contextlib.asynccontextmanager
async def running(settings: Config, log: Log, **more: Any) -> AsyncIterator[Daemon]:
    async with Daemon(settings, log.logger, **more) as daemon:
        yield daemon


async def until(condition: Callable[[], object], what: str) -> None:
    """Wait for a condition while the daemon runs in this loop; fails after a generous limit."""
    for _ in range(4000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError(f"waited in vain for {what}")


async def ask(settings: Config, question: Callable[[Client], T]) -> T:
    def work() -> T:
        with Client(find(settings)) as client:
            return question(client)

    return await asyncio.to_thread(work)


def add(wires: list[Wire], wire: Any) -> Any:
    wires.append(wire)
    wire.start()
    return wire


def test_a_readings_way_and_a_commands_way(tmp_path: Path, wires: list[Wire], log: Log) -> None:
    wire = add(wires, PtyWire(FakeNode(), tmp_path / "one"))
    settings = config(tmp_path, wires)
    happened: list[tuple[str, Any]] = []

    def listen(begun: threading.Event) -> None:
        with Client(find(settings)) as client, contextlib.suppress(ClientError):
            for happening in client.stream():
                begun.set()
                happened.append(happening)

    async def work() -> None:
        async with running(settings, log) as daemon:
            begun = threading.Event()
            listener = threading.Thread(target=listen, args=(begun,), daemon=True)
            listener.start()
            await until(begun.is_set, "the stream")
            await until(lambda: daemon.hub._route, "the node")
            wire.report(20)
            with wire.lock:
                wire.node.report(time.time() + 1, lux=None, pm25=schema.OVER, temp=schema.UNDER)
                wire.node.event(schema.EVENT_LAMP, 100)
            await until(lambda: not wire.pending, "the acknowledgements")
            await until(lambda: sum(kind == "reading" for kind, _ in happened) == 21, "the stream's readings")

            command = await ask(settings, lambda c: c.lamp(1, api.LampOrder("dim", 60, for_s=600)))
            await until(lambda: wire.node.executed, "the command at the node")
            await until(
                lambda: daemon.hub.commands.totals.get("acknowledged", 0) == 1, "the acknowledgement in the daemon"
            )
            for ahead in (3, 5):
                with wire.lock:
                    wire.node.report(time.time() + ahead)
            await until(lambda: daemon.hub.commands.totals.get("measured", 0) == 1, "the measurement")

            done = await ask(settings, lambda c: c.command(command.id))
            assert (done.state, done.open, done.power_w, done.level_then) == ("measured", False, 36.0, 60)
            health = await ask(settings, lambda c: c.health(1))
            assert health.values["made"] == 24
            await until(lambda: daemon.store.boards()[0].made == 24, "the account")

            (node,) = await ask(settings, lambda c: c.nodes())
            assert (node.node, node.name, node.online, node.firmware) == (1, "Strada Unirii 1", True, "1.2.3")
            assert (node.stored, node.reports, node.events, node.gaps, node.same_time) == (24, 23, 1, 0, 0)
            assert (node.made, node.dropped, node.lamp_w) == (24, 0, 60.0)
            assert node.latest is not None
            assert node.latest.values is not None
            assert node.latest.values["dim"] == 60

            found = await ask(settings, lambda c: list(c.readings(node=1)))
            assert [reading.seq for reading in found] == [*range(21), 22, 23]
            plain, odd = found[0].values, found[20].values
            assert plain is not None
            assert odd is not None
            assert (plain["pm25"], plain["temp"], plain["leq"], plain["power"]) == (8.4, 7.5, 56.1, 60.0)
            assert plain["lux"] == pytest.approx(0.5 * (1.01**500 - 1), rel=0.005)
            assert (odd["lux"], odd["pm25"], odd["temp"]) == (None, "over", "under")
            assert plain["co2"] is None
            newest = await ask(settings, lambda c: list(c.readings(node=1, newest=True, limit=3)))
            assert [reading.seq for reading in newest] == [20, 22, 23]
            paged = await ask(settings, lambda c: list(c.readings(limit=5)))
            assert [reading.seq for reading in paged] == [0, 1, 2, 3, 4]
            events = await ask(settings, lambda c: c.events())
            assert [(e.event, e.argument) for e in events] == [("lamp", 100)]
            assert [c.id for c in await ask(settings, lambda c: c.commands(node=1))] == [command.id]

            status = await ask(settings, lambda c: c.status())
            assert status.commands == {"measured": 1}
            assert status.links[0].state == "live"
            assert status.links[0].nodes == [1]
            assert (status.store.trouble, status.store.check) == ("", "ok")
            assert status.stream.listeners == 1
        await asyncio.to_thread(listener.join, 5)
        assert not listener.is_alive(), "the stream ends with the daemon"

    asyncio.run(work())
    states = [what.state for kind, what in happened if kind == "command"]
    assert states == ["stored", "sent", "acknowledged", "measured"]
    assert {"reading", "node", "event", "command"} <= {kind for kind, _ in happened}
    assert log.count("daemon ready") == 1


def test_a_pulled_cable_is_said_once_and_plugged_in_again(tmp_path: Path, wires: list[Wire], log: Log) -> None:
    node = FakeNode()
    first = add(wires, PtyWire(node, tmp_path / "one"))
    settings = config(tmp_path, wires)

    async def work() -> None:
        async with running(settings, log) as daemon:
            first.report(5)
            await until(lambda: first.pending == 0 and daemon.store.boards(), "the first reports")
            first.close()
            await until(lambda: log.count("line lost"), "the loss")
            await until(lambda: daemon.hub.links[0].state.value == "waiting", "the wait")
            node.report(time.time() + 1)
            second = add(wires, PtyWire(node, tmp_path / "one"))
            await until(lambda: second.pending == 0, "the reports made meanwhile")
            await until(lambda: daemon.store.boards()[0].reports == 6, "all reports")
            assert daemon.hub.links[0].state.value == "live"

    asyncio.run(work())
    assert log.count("line lost") == 1
    assert log.count("line can't be opened") <= 1
    assert log.count("node found") == 2


def test_a_line_full_of_garbage_and_a_missing_one_leave_the_third_alone(
    tmp_path: Path, wires: list[Wire], log: Log
) -> None:
    good = add(wires, SocketWire(FakeNode()))
    loud = add(wires, PtyWire(FakeNode(address=2), tmp_path / "loud", babble=b"\xa5\x00" * 2000))
    settings = config(tmp_path, [good, loud])
    missing = LinkConfig(str(tmp_path / "missing"))
    settings = Config(data_dir=settings.data_dir, link=(missing, *settings.link))

    async def work() -> None:
        async with running(settings, log) as daemon:
            good.report(30)
            await until(lambda: daemon.store.boards() and not good.pending, "the good line's reports")
            await until(lambda: log.count("line carries garbage"), "the warning")
            loud.babble = b""
            loud.report(3)
            await until(lambda: {view.node for view in daemon.store.boards()} == {1, 2} and not loud.pending, "both")
            good.hang_up()
            good.report(3)
            await until(lambda: not good.pending, "the reports after the hang-up")
            dropped = daemon.hub.links[2].dropped
            assert sum(dropped.values()) > 0

    asyncio.run(work())
    assert log.count("line carries garbage") == 1
    assert log.count("line can't be opened", link=str(tmp_path / "missing")) == 1


def test_devices_that_swap_their_names_do_no_harm(tmp_path: Path, wires: list[Wire], log: Log) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    left = add(wires, PtyWire(FakeNode(address=1), one))
    right = add(wires, PtyWire(FakeNode(address=2, uid=(1, 2, 3)), two))
    settings = config(tmp_path, wires)

    async def work() -> None:
        async with running(settings, log) as daemon:
            left.report(3)
            right.report(3)
            await until(lambda: len(daemon.hub._route) == 2 and not left.pending and not right.pending, "both nodes")
        left.point(two)
        right.point(one)
        async with running(settings, log) as daemon:
            with left.lock, right.lock:
                left.node.told_time = right.node.told_time = None
            await until(lambda: len(daemon.hub._route) == 2, "both again")
            assert daemon.hub._route[1].url == str(two)
            await ask(settings, lambda c: c.lamp(1, api.LampOrder("off")))
            await until(lambda: left.node.executed, "the command")
            assert not right.node.executed
            left.report(2)
            right.report(2)
            await until(lambda: not left.pending and not right.pending, "the reports")
            assert {view.node: view.reports for view in daemon.store.boards()} == {1: 5, 2: 5}

    asyncio.run(work())


def test_the_same_node_on_two_lines_is_stored_once(tmp_path: Path, wires: list[Wire], log: Log) -> None:
    """Two wires with one board's identity: what reaches the host twice counts once, on whichever line it came."""
    node, twin = FakeNode(), FakeNode()
    first = add(wires, PtyWire(node, tmp_path / "one"))
    second = add(wires, PtyWire(twin, tmp_path / "two"))
    settings = config(tmp_path, wires)

    async def work() -> None:
        async with running(settings, log) as daemon:
            await until(lambda: all(link.nodes == (1,) for link in daemon.hub.links), "both lines")
            with first.lock, second.lock:
                for i in range(10):
                    node.report(1_790_000_000 + i)
                    twin.report(1_790_000_000 + i)
            await until(lambda: not first.pending and not second.pending, "the acknowledgements")
            (view,) = daemon.store.boards()
            assert view.reports == 10
            assert view.duplicates >= 10
            route = daemon.hub._route[1]
            (second if route.url == second.url else first).close()
            await until(lambda: daemon.hub._route.get(1) not in (None, route), "the other way to the node")

    asyncio.run(work())


def test_another_board_at_the_same_address_is_said(tmp_path: Path, wires: list[Wire], log: Log) -> None:
    add(wires, PtyWire(FakeNode(), tmp_path / "one"))
    settings = config(tmp_path, wires)

    async def work() -> None:
        async with running(settings, log) as daemon:
            wires[0].report(2)
            await until(lambda: daemon.store.boards() and not wires[0].pending, "the first board")
            wires[0].close()
            other = add(wires, PtyWire(FakeNode(uid=(9, 9, 9)), tmp_path / "one"))
            other.report(2)
            await until(lambda: not other.pending, "the second board")
            (node,) = daemon.hub.nodes()
            assert (node.boards, node.reports, node.board) == (2, 4, "000900090009")

    asyncio.run(work())
    assert log.count("node is another board now") == 1


def test_a_command_waits_for_its_node_over_a_restart(tmp_path: Path, wires: list[Wire], log: Log) -> None:
    wire = add(wires, PtyWire(FakeNode(), tmp_path / "one"))
    settings = config(tmp_path, wires)

    async def work() -> None:
        async with running(settings, log) as daemon:
            await until(lambda: daemon.hub._route, "the node")
            with wire.lock:
                wire.node.deaf = True
            await ask(settings, lambda c: c.lamp(1, api.LampOrder("off", for_s=3600)))
        with wire.lock:
            wire.node.deaf = False
        async with running(settings, log) as daemon:
            await until(lambda: daemon.hub.commands.totals.get("acknowledged"), "the answer after the restart")
            assert len(wire.node.executed) == 1

    asyncio.run(work())


def test_what_cannot_be_stored_is_not_acknowledged(tmp_path: Path, wires: list[Wire], log: Log) -> None:
    wire = add(wires, PtyWire(FakeNode(), tmp_path / "one"))
    settings = config(tmp_path, wires)

    async def work() -> None:
        async with running(settings, log) as daemon:
            wire.report(2)
            await until(lambda: not wire.pending, "the first reports")
            connection = daemon.store._connection
            daemon.store._writer.submit(lambda c: c.execute("PRAGMA max_page_count = 1")).result(5)
            for _ in range(120):
                wire.report(1)
            await until(lambda: daemon.hub.unstored, "the refusal")
            assert wire.pending
            assert (await ask(settings, lambda c: c.status())).store.trouble
            connection.execute("PRAGMA max_page_count = 100000")
            await until(lambda: not wire.pending, "the recovery")
            assert daemon.store.boards()[0].reports == 122

    asyncio.run(work())
    assert log.count("database can't be written") == 1
    assert log.count("database can be written again") == 1


def test_orders_that_make_no_sense_are_refused(tmp_path: Path, log: Log) -> None:
    settings = config(tmp_path, [])

    async def work() -> None:
        async with running(settings, log):
            for order, status, words in (
                (lambda c: c.lamp(7, api.LampOrder("on")), 404, "No node 7"),
                (lambda c: c.lamp(1, api.LampOrder("dim")), 400, "1 to 100 %"),
                (lambda c: c.config(1, api.ConfigOrder(-5)), 400, "report period"),
                (lambda c: c.health(1), 504, "does not answer"),
                (lambda c: c.command(99), 404, "no command 99"),
                (lambda c: c._get("/v1/readings", api.ReadingPage, since="soon"), 400, "not a time"),
                (lambda c: c._get("/v1/readings", api.ReadingPage, after="x"), 400, "no page"),
                (lambda c: c._get("/v1/readings", api.ReadingPage, limit=0), 400, "limit"),
                (lambda c: c._get("/v1/nothing", api.ReadingPage), 404, "Not Found"),
                (lambda c: c._post("/v1/nodes/1/lamp", api.ConfigOrder(1), api.Command), 400, "report_s"),
            ):
                with pytest.raises(ClientError, match=words) as caught:
                    await ask(settings, order)
                assert caught.value.status == status
            accepted = await ask(settings, lambda c: c.lamp(1, api.LampOrder("on")))
            assert accepted.state == "stored", "a node of the configuration can be commanded before it was ever heard"

    asyncio.run(work())


def test_a_listener_that_goes_is_forgotten(tmp_path: Path, log: Log) -> None:
    settings = config(tmp_path, [])

    async def work() -> None:
        async with running(settings, log) as daemon:

            def peek() -> None:
                with Client(find(settings)) as client:
                    for _ in client.stream():
                        return

            await asyncio.to_thread(peek)
            await until(lambda: daemon.hub.bus.listeners == 0, "the end of the listener")

    asyncio.run(work())


def test_a_loopback_port_wants_its_token(tmp_path: Path, log: Log) -> None:
    settings = config(tmp_path, [], control=ControlConfig("127.0.0.1:0"))

    async def work() -> None:
        async with running(settings, log):
            address = find(settings)
            assert address.token_file is not None
            assert os.stat(address.token_file).st_mode & 0o777 == 0o600
            assert await ask(settings, lambda c: c.nodes()) == []
            for headers in ({}, {"Authorization": "Bearer wrong"}):
                answer = await asyncio.to_thread(httpx.get, address.url + "/v1/status", headers=headers)
                assert answer.status_code == 401
                assert "token" in answer.json()["error"]

    asyncio.run(work())
    assert sorted(file.name for file in settings.run.iterdir()) == ["lock"]


def test_the_socket_is_this_users_only_and_cleaned_up(tmp_path: Path, log: Log) -> None:
    deep = tmp_path / ("d" * 90) / ("e" * 90)
    settings = Config(data_dir=str(deep))

    async def work() -> None:
        async with running(settings, log):
            assert (settings.run / "control.sock").stat().st_mode & 0o777 == 0o600
            assert settings.directory.stat().st_mode & 0o777 == 0o700
            assert await ask(settings, lambda c: c.nodes()) == []
            with pytest.raises(ControlError, match=rf"Another felinar daemon \(process {os.getpid()}\)"):
                await Daemon(settings, log.logger).__aenter__()
            assert await ask(settings, lambda c: c.nodes()) == [], "the first one goes on"

    asyncio.run(work())
    with pytest.raises(ClientError, match="No daemon is running"):
        find(settings)


def test_a_socket_left_by_a_killed_daemon_is_in_nobodys_way(tmp_path: Path, log: Log) -> None:
    settings = config(tmp_path, [], control=ControlConfig(f"unix:{tmp_path}/felinar.sock"))
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(f"{tmp_path}/felinar.sock")

    async def work(settings: Config) -> None:
        async with running(settings, log):
            assert await ask(settings, lambda c: c.nodes()) == []
            other = Config(data_dir=str(tmp_path / "other"), control=settings.control)
            with pytest.raises(ControlError, match="Another daemon answers"):
                await Daemon(other, log.logger).__aenter__()

    asyncio.run(work(settings))
    (tmp_path / "felinar.sock").write_text("not a socket")
    with pytest.raises(ControlError, match="in the way"):
        asyncio.run(work(settings))
    assert (tmp_path / "felinar.sock").read_text() == "not a socket"


def test_a_line_that_somebody_named_must_open(tmp_path: Path, log: Log) -> None:
    settings = Config(data_dir=str(tmp_path), link=(LinkConfig(str(tmp_path / "missing")),))

    async def work() -> None:
        with pytest.raises(LinkError, match="There is no port"):
            await Daemon(settings, log.logger, must_open=[settings.link[0].url]).__aenter__()
        lock = DirectoryLock(settings)  # nothing is held any more
        lock.release()

    asyncio.run(work())


def test_a_busy_port_is_told(tmp_path: Path, log: Log) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = config(tmp_path, [], control=ControlConfig(f"127.0.0.1:{taken.getsockname()[1]}"))

        async def work() -> None:
            with pytest.raises(ControlError, match="address already in use"):
                await Daemon(settings, log.logger).__aenter__()

        asyncio.run(work())


def test_asking_a_silent_node_gives_up(tmp_path: Path, wires: list[Wire], log: Log) -> None:
    wire = add(wires, PtyWire(FakeNode(), tmp_path / "one"))
    settings = config(tmp_path, wires)

    async def work() -> None:
        async with running(settings, log) as daemon:
            await until(lambda: daemon.hub._route, "the node")
            with wire.lock:
                wire.node.deaf = True
            with pytest.raises(CommandError, match="does not answer"):
                await daemon.hub.ask_health(1, timeout_s=0.05)

    asyncio.run(work())
