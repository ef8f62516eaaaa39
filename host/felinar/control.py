"""The control interface: HTTP with JSON and server-sent events, for this machine's users only."""

from __future__ import annotations

import asyncio
import hmac
import os
import secrets
import socket
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import msgspec
import uvicorn
from felinar_wire import schema
from litestar import Litestar, MediaType, Request, Response, get, post
from litestar.exceptions import HTTPException, NotAuthorizedException
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from litestar.response import ServerSentEvent, ServerSentEventMessage

from felinar import api
from felinar.commands import from_row
from felinar.config import Config, listen_address
from felinar.control_address import ADDRESS_FILE, Address
from felinar.durations import moment
from felinar.errors import CommandError, ControlError, FelinarError, StoreError
from felinar.hub import Hub
from felinar.readings import event, reading
from felinar.store import Store
from felinar.uds import ShortPath

TOKEN_FILE = "token"
LARGEST_PAGE = 10_000
_IDLE_S = 15.0

Limit = Annotated[int, QueryParameter(ge=1, le=LARGEST_PAGE)]


def application(hub: Hub, store: Store, status: Callable[[], api.Status], token: str | None) -> Litestar:
    """The interface as an ASGI application. With a token every request must bear it."""

    @get("/v1/status")
    async def get_status() -> api.Status:
        return status()

    @get("/v1/nodes")
    async def get_nodes() -> list[api.Node]:
        return hub.nodes()

    @get("/v1/readings")
    async def get_readings(
        node: FromQuery[int | None] = None,
        since: FromQuery[str | None] = None,
        until: FromQuery[str | None] = None,
        limit: Limit = 1000,
        after: FromQuery[str | None] = None,
        newest: FromQuery[bool] = False,
    ) -> api.ReadingPage:
        rows = await asyncio.wrap_future(
            store.read(
                schema.REPORT, nodes=None if node is None else [node], since=_time(since, "since"),
                until=_time(until, "until"), after=_key(after), limit=limit, newest=newest,
            )
        )  # fmt: skip
        uids = hub.uids()
        page = [reading(row, uids[row.board], hub.name(row.node)) for row in rows]
        more = len(rows) == limit and not newest
        return api.ReadingPage(page, ".".join(map(str, rows[-1].key)) if more else None)

    @get("/v1/events")
    async def get_events(
        node: FromQuery[int | None] = None,
        since: FromQuery[str | None] = None,
        until: FromQuery[str | None] = None,
        limit: Limit = 1000,
    ) -> list[api.NodeEvent]:
        rows = await asyncio.wrap_future(
            store.read(
                schema.EVENT, nodes=None if node is None else [node], since=_time(since, "since"),
                until=_time(until, "until"), after=None, limit=limit, newest=True,
            )
        )  # fmt: skip
        uids = hub.uids()
        return [event(row, uids[row.board]) for row in rows]

    @post("/v1/nodes/{node:int}/lamp", status_code=202)
    async def post_lamp(node: FromPath[int], data: JSONBody[api.LampOrder]) -> api.Command:
        return await hub.lamp(node, data)

    @post("/v1/groups/{group:str}/lamp", status_code=202)
    async def post_group(group: FromPath[str], data: JSONBody[api.LampOrder]) -> api.GroupCommand:
        return hub.group_lamp(group, data)

    @post("/v1/nodes/{node:int}/config", status_code=202)
    async def post_config(node: FromPath[int], data: JSONBody[api.ConfigOrder]) -> api.Command:
        return await hub.config(node, data)

    @get("/v1/nodes/{node:int}/health")
    async def get_health(node: FromPath[int]) -> api.Health:
        return await hub.ask_health(node)

    @get("/v1/commands")
    async def get_commands(node: FromQuery[int | None] = None, limit: Limit = 100) -> list[api.Command]:
        fresh = hub.commands.fresh()
        rows = await asyncio.wrap_future(store.read_commands(node=node, open_only=False, limit=limit))
        return [(fresh.get(row.id) or from_row(row)).view() for row in rows]

    @get("/v1/commands/{id:int}")
    async def get_command(id: FromPath[int]) -> api.Command:
        if found := hub.commands.fresh().get(id):
            return found.view()
        row = await asyncio.wrap_future(store.read_command(id))
        if row is None:
            raise CommandError(f"There is no command {id}.", status=404)
        return from_row(row).view()

    @get("/v1/stream")
    async def get_stream() -> ServerSentEvent:
        return ServerSentEvent(_events(hub))

    def guard(request: Request[Any, Any, Any]) -> None:
        given = request.headers.get("authorization", "")
        if token is not None and not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
            raise NotAuthorizedException("The token is missing or wrong.")

    return Litestar(
        route_handlers=[
            get_status, get_nodes, get_readings, get_events, post_lamp, post_group, post_config, get_health,
            get_commands, get_command, get_stream,
        ],
        before_request=guard,
        exception_handlers={FelinarError: _refuse, HTTPException: _refuse_http},
        openapi_config=None,
        logging_config=None,
    )  # fmt: skip


async def _events(hub: Hub) -> AsyncIterator[ServerSentEventMessage]:
    listener = hub.bus.join()
    try:
        # The answer begins at once, so that whoever asked knows that nothing from now on escapes it.
        yield ServerSentEventMessage(comment="felinar")
        async for item in listener.events(_IDLE_S):
            if item is None:
                yield ServerSentEventMessage(comment="still here")
            else:
                yield ServerSentEventMessage(event=item[0], data=item[1].decode())
    finally:
        hub.bus.leave(listener)


def _refuse(_: Request[Any, Any, Any], error: FelinarError) -> Response[api.Problem]:
    status = error.status if isinstance(error, CommandError) else 503 if isinstance(error, StoreError) else 400
    return _problem(status, error.sentence, error.remedy)


def _refuse_http(_: Request[Any, Any, Any], error: HTTPException) -> Response[api.Problem]:
    extra = error.extra if isinstance(error.extra, list) else []
    words = "; ".join(f"{item['key']}: {item['message']}" for item in extra if {"key", "message"} <= set(item))
    return _problem(error.status_code, words or error.detail, "")


def _problem(status: int, sentence: str, remedy: str) -> Response[api.Problem]:
    return Response(api.Problem(sentence, remedy), status_code=status, media_type=MediaType.JSON)


def _time(text: str | None, name: str) -> int | None:
    if text is None:
        return None
    if text.isdigit():
        return int(text)
    try:
        return moment(text.replace(" ", "+"), 0)
    except FelinarError:
        raise CommandError(f"{name}: '{text}' is not a time.", "Write 2026-11-24T18:00:00Z or Unix seconds.") from None


def _key(text: str | None) -> tuple[int, int, int, int] | None:
    if text is None:
        return None
    try:
        time, board, boot, seq = map(int, text.split("."))
    except ValueError:
        raise CommandError(f"after: '{text}' is no page.", "Give the 'after' of the page before.") from None
    return time, board, boot, seq


# Serving


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the daemon's, not the web server's."""
        yield


class ControlServer:
    """Serves an application on the address that the configuration names, until `close`."""

    def __init__(self, config: Config) -> None:
        self._run = config.run
        where = listen_address(config.control.listen, config.run)
        self.token: str | None = None
        self._path: Path | None = None
        if isinstance(where, Path):
            self._path = where.absolute()
            self._socket = _bind_unix(self._path)
            self.address = Address(os.getpid(), socket=str(self._path))
        else:
            self._socket = _bind_tcp(*where)
            self.token = secrets.token_urlsafe(32)
            _write_private(self._run / TOKEN_FILE, self.token)
            host, port = self._socket.getsockname()[:2]
            url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
            self.address = Address(os.getpid(), url=url, token_file=str((self._run / TOKEN_FILE).absolute()))
        self._server: _Server | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self, app: Litestar) -> None:
        """Answer from now on."""
        self._server = _Server(
            uvicorn.Config(
                app, log_config=None, access_log=False, lifespan="on", ws="none", loop="none", http="h11",
                timeout_graceful_shutdown=2,
            )
        )  # fmt: skip
        self._task = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        while not self._server.started:
            if self._task.done():
                await self._task
                raise ControlError("The control interface did not start.", "The log says why.")
            await asyncio.sleep(0.005)
        _write_private(self._run / ADDRESS_FILE, msgspec.json.encode(self.address).decode())

    async def close(self) -> None:
        """Answer no more, and leave nothing behind."""
        for name in (ADDRESS_FILE, TOKEN_FILE):
            (self._run / name).unlink(missing_ok=True)
        if self._server and self._task:
            self._server.should_exit = True
            await self._task
        self._socket.close()
        if self._path:
            self._path.unlink(missing_ok=True)


def _bind_unix(path: Path) -> socket.socket:
    try:
        if path.parent.is_dir():
            _clear(path)
        else:
            path.parent.mkdir(mode=0o700, parents=True)
        short = ShortPath(path)
        server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)
        try:
            server.bind(short.path)
        except OSError:
            server.close()
            raise
        finally:
            os.umask(before)
            short.close()
    except OSError as error:
        raise ControlError(
            f"The control socket {path} can't be made: {(error.strerror or str(error)).lower()}.",
            "Check its folder, or set control.listen to another place.",
        ) from error
    return server


def _clear(path: Path) -> None:
    """Remove a socket that nobody answers on; raise ControlError when somebody does, or when it is something else."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ControlError(f"{path} is in the way of the control socket.", "Move it away, or set control.listen.")
    short = ShortPath(path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(short.path)
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
        finally:
            short.close()
    raise ControlError(f"Another daemon answers on {path}.", "Stop it, or set control.listen to another place.")


def _bind_tcp(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        server = socket.socket(family, socket.SOCK_STREAM)
        try:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind((host, port))
            server.listen(64)
        except OSError:
            server.close()
            raise
    except OSError as error:
        raise ControlError(
            f"The control interface can't listen on {host}:{port}: {(error.strerror or str(error)).lower()}.",
            "Set control.listen to a free port, or to unix.",
        ) from error
    return server


def _write_private(path: Path, text: str) -> None:
    """Write a file that only this user may read, whole or not at all."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    draft.rename(path)
