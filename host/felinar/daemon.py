"""The daemon: one data directory, one store, any number of lines, one control interface."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from felinar import api
from felinar.air.service import AirService
from felinar.clock import Clock, SystemClock, iso
from felinar.config import Config
from felinar.control import ControlServer, application
from felinar.errors import ControlError, LinkError, StoreError
from felinar.hub import Hub
from felinar.keys.place import open_keys
from felinar.link import Link
from felinar.store import SqliteStore

DATABASE = "felinar.sqlite3"
_TICK_S = 1.0


class DirectoryLock:
    """Holds a data directory for one daemon; the system lets go when the process ends, however it ends."""

    def __init__(self, config: Config) -> None:
        """Raises ControlError when another daemon holds it, StoreError when the directory can't be used."""
        path = config.run / "lock"
        try:
            config.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            config.run.mkdir(mode=0o700, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StoreError(
                f"The data directory {config.directory} can't be used: {(error.strerror or str(error)).lower()}.",
                "Check its permissions, or name another one with --data-dir.",
            ) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            pid = os.pread(self._file, 20, 0).decode(errors="replace").strip() or "?"
            os.close(self._file)
            raise ControlError(
                f"Another felinar daemon (process {pid}) uses {config.directory}.",
                "Stop it, or name another data directory with --data-dir.",
            ) from None
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, str(os.getpid()).encode(), 0)

    def release(self) -> None:
        """Let go."""
        os.close(self._file)


class Daemon:
    """Everything that runs. Use as `async with Daemon(config, log) as daemon`, in a loop of its own."""

    def __init__(self, config: Config, log: Any, *, must_open: Sequence[str] = (), clock: Clock | None = None) -> None:
        """`must_open`: URLs of lines without which it does not start, because somebody has just named them."""
        self._config = config
        self._log = log
        self._must_open = set(must_open)
        self._clock = clock or SystemClock()
        self._started = self._clock.now().unix
        self._check = "running"
        self._stack = contextlib.AsyncExitStack()
        self.hub: Hub
        self.store: SqliteStore
        self.control: ControlServer

    async def __aenter__(self) -> Daemon:
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _start(self) -> None:
        config, log = self._config, self._log
        lock = DirectoryLock(config)
        self._stack.callback(lock.release)
        self._check = "ok"
        self.store = SqliteStore(_path(config), on_trouble=self._trouble, on_checked=self._checked)
        self._stack.callback(self.store.close)
        self.control = ControlServer(config)
        self._stack.push_async_callback(self.control.close)
        self.hub = Hub(config, self.store, self._clock, log)
        self._stack.callback(self.hub.bus.close)
        await self.hub.commands.resume()
        if config.bridge:
            self._start_air()
        links = [Link(link, self._clock, self.hub, log) for link in config.link]
        self.hub.links += links
        tasks = [asyncio.create_task(link.run(), name=f"link {link.url}") for link in links]
        self._stack.push_async_callback(_end_links, links, tasks)
        for link in links:
            if link.url in self._must_open and (error := await link.first):
                raise LinkError(error.sentence, error.remedy, fatal=error.fatal)
        await self.control.start(application(self.hub, self.store, self.status, self.control.token))
        ticker = asyncio.create_task(self._tick(), name="ticker")
        self._stack.push_async_callback(_cancel, ticker)
        where = self.control.address.socket or self.control.address.url
        log.info("daemon ready", pid=os.getpid(), data_dir=str(config.directory), control=where, links=len(links))
        if not links and not config.bridge:
            log.warning("no line is configured", remedy="name one: felinar daemon --port /dev/ttyUSB0")

    def _start_air(self) -> None:
        folder = self._config.keys.folder
        place = Path(folder).expanduser() if folder else self._config.directory
        keys = open_keys(place, create=True, role="sessions")
        self._stack.callback(keys.close)
        air = AirService(self._config, keys, self.store, self.hub, self._clock, self._log)
        self.hub.air = air
        self.hub.links += air.lines
        task = asyncio.create_task(air.run(), name="air")
        self._stack.push_async_callback(_end_air, air, task)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            try:
                self.hub.commands.tick()
            except Exception:  # the clock must go on
                self._log.exception("tick failed")

    def status(self) -> api.Status:
        """The daemon in one answer."""
        metrics = self.store.metrics()
        return api.Status(
            version=installed_version(),
            pid=os.getpid(),
            started=iso(self._started),
            data_dir=str(self._config.directory.absolute()),
            store=api.StoreStatus(
                backend="sqlite", path=str(_path(self._config).absolute()), trouble=metrics.trouble, check=self._check,
                queued=metrics.queued, queued_most=metrics.queued_most, refused=metrics.refused,
                batches=metrics.batches, failed_batches=metrics.failed_batches, largest_batch=metrics.largest_batch,
                commit_ms=round(metrics.commit_ms, 3), commit_ms_most=round(metrics.commit_ms_most, 3),
            ),
            stream=api.Stream(self.hub.bus.listeners, self.hub.bus.missed),
            links=[self.hub.link_view(link) for link in self.hub.links if isinstance(link, Link)],
            nodes=self.hub.nodes(),
            commands={state: count for state, count in sorted(self.hub.commands.totals.items()) if count},
            bridges=self.hub.air.bridges() if self.hub.air else [], air=self.hub.air.dropped() if self.hub.air else {},
        )  # fmt: skip

    def _trouble(self, reason: str) -> None:
        if reason:
            self._log.error("database can't be written", reason=reason, remedy="nodes keep their messages meanwhile")
        else:
            self._log.info("database can be written again")

    def _checked(self, found: str) -> None:
        self._check = found or "ok"
        if found:
            self._log.error("database is damaged", found=found, remedy="restore it from a backup")


async def run(config: Config, log: Any, *, must_open: Sequence[str] = ()) -> None:
    """Run a daemon until SIGTERM or SIGINT. Raises a FelinarError when it can't start."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    starting = asyncio.create_task(_serve(config, log, must_open, stop))
    waiting = asyncio.create_task(stop.wait())
    await asyncio.wait({starting, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    await starting


async def _serve(config: Config, log: Any, must_open: Sequence[str], stop: asyncio.Event) -> None:
    async with Daemon(config, log, must_open=must_open):
        await stop.wait()
        log.info("daemon ends")


def installed_version() -> str:
    """Felinar's version as installed."""
    try:
        return version("felinar")
    except PackageNotFoundError:
        return "0"


def _path(config: Config) -> Path:
    return config.directory / DATABASE


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def _end_links(links: list[Link], tasks: list[asyncio.Task[None]]) -> None:
    for link in links:
        link.stop()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _end_air(air: AirService, task: asyncio.Task[None]) -> None:
    air.stop()
    await asyncio.gather(task, return_exceptions=True)
