"""Commands that change keys beside a daemon that has the sessions: what they do is noticed, and no counter is used twice."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from felinar.keys import KeyStoreError, SessionState, SqliteKeyStore
from felinar.keys.sqlite import Role
from felinar_wire import WireError

from tests.protocol.security_helpers import HEALTH, LAMP_SET, REPORT, SECRET, START, Host, Node, watched

STATE = SessionState(1, 1, 1, b"u" * 16, b"d" * 16, b"request" * 2, b"answer" * 6)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Host]:
    host = Host(tmp_path, role="sessions")
    yield host
    host.stop()


def beside(path: Path, role: Role = "keys") -> SqliteKeyStore:
    return SqliteKeyStore(path, SECRET, role=role, now=lambda: START, machine=lambda: "machine-1")


def joined(host: Host, node: Node) -> None:
    node.accept(host.keyring.answer(node.boot()))


def refused(host: Host, data: bytes) -> str:
    with pytest.raises(WireError) as error:
        host.keyring.open(data)
    return error.value.reason


def test_a_board_that_is_flashed_while_the_daemon_runs_can_join_at_once(daemon: Host) -> None:
    command = beside(daemon.path)
    root = command.prepare(7, "a1b2c3d40001")
    node = Node(7, root)
    with pytest.raises(WireError, match="address"):
        daemon.keyring.answer(node.boot())
    assert command.activate(7, "a1b2c3d40001")
    command.close()
    joined(daemon, node)
    assert daemon.open(node.seal(REPORT, b"first")).body == b"first"


@pytest.mark.parametrize("how", ["remove", "provision", "invalidate"])
def test_a_session_that_a_command_has_ended_is_over_at_once_and_for_good(daemon: Host, how: str) -> None:
    node = Node(7, daemon.store.provision(7))
    joined(daemon, node)
    daemon.keyring.open(node.seal(REPORT, b"not committed yet"))
    command = beside(daemon.path)
    getattr(command, how)(*(() if how == "invalidate" else (7,)))
    daemon.keyring.commit()
    assert refused(daemon, node.seal(REPORT, b"x")) == "session"
    with pytest.raises(WireError, match="session"):
        daemon.keyring.seal(7, LAMP_SET, b"on")
    assert command.session(7) is None
    assert daemon.store.sessions() == []
    command.close()


def test_what_is_kept_of_a_session_after_it_was_ended_brings_it_not_back(daemon: Host) -> None:
    daemon.store.provision(7)
    daemon.store.begin(7, STATE)
    command = beside(daemon.path)
    command.remove(7)
    daemon.store.save({7: STATE})
    assert command.session(7) is None
    command.close()


def test_a_key_that_changes_while_a_join_is_answered_begins_no_session(daemon: Host) -> None:
    node = Node(7, daemon.store.provision(7))
    command = beside(daemon.path)

    def slot(address: int) -> tuple[int, int]:
        command.provision(address)  # between the look at the key and the keeping of the session
        return 1, 1

    daemon.keyring._slot = slot
    with pytest.raises(WireError, match="address"):
        daemon.keyring.answer(node.boot())
    assert command.session(7) is None
    assert command.last_join(7) == 0
    command.close()


def test_one_daemon_and_one_command_at_a_time_and_any_number_that_look(daemon: Host) -> None:
    daemon.store.provision(7)
    command = beside(daemon.path)
    for role, who in (("sessions", "daemon"), ("keys", "command"), ("all", "daemon")):
        with pytest.raises(KeyStoreError, match=f"Another {who} works with the key store"):
            beside(daemon.path, role)  # type: ignore[arg-type]
    looks = [beside(daemon.path, "read") for _ in range(2)]
    command.provision(8)
    assert [look.nodes() for look in looks] == [[7, 8]] * 2
    for store in (command, *looks):
        with pytest.raises(KeyStoreError, match="are the daemon's"):
            store.begin(7, STATE)
        with pytest.raises(KeyStoreError, match="are the daemon's"):
            store.save({7: STATE})
    with pytest.raises(KeyStoreError, match="can't be written"):
        looks[0].provision(9)
    for store in (command, *looks):
        store.close()
    beside(daemon.path).close()


def test_a_command_that_was_killed_holds_nobody_up_and_ends_no_session(daemon: Host) -> None:
    node = Node(7, daemon.store.provision(7))
    joined(daemon, node)
    command = beside(daemon.path)
    command.provision(8)
    command._end()
    beside(daemon.path).close()
    daemon.crash()
    daemon.start()
    assert daemon.store.discarded == ""
    assert daemon.store.nodes() == [7, 8]
    daemon.open(node.seal(REPORT, b"it goes on"))


def test_a_store_from_a_backup_is_found_out_by_the_daemon_although_a_command_came_first(daemon: Host) -> None:
    node = Node(7, daemon.store.provision(7))
    joined(daemon, node)
    daemon.stop()
    old = daemon.path.read_bytes()
    daemon.start()
    daemon.keyring.seal(7, LAMP_SET, b"on")
    daemon.stop()
    daemon.path.write_bytes(old)
    command = beside(daemon.path)
    command.provision(8)
    command.close()
    daemon.start()
    assert "not as it was left" in daemon.store.discarded
    assert daemon.store.sessions() == []


def test_a_secret_that_two_ask_for_first_is_one(daemon: Host) -> None:
    command = beside(daemon.path)
    calls = []

    def chance(n: int) -> bytes:
        if not calls:
            calls.append(command.zone_key(0x8001))  # just before the daemon has made its own
        return bytes(n)

    daemon.store._random = chance
    assert daemon.store.zone_key(0x8001) == calls[0] == command.zone_key(0x8001)
    command.close()


def test_no_nonce_is_used_twice_wherever_commands_come_in_between(
    daemon: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = beside(daemon.path)
    command._db.execute("PRAGMA synchronous=OFF")
    dice = random.Random(7)
    nodes = [Node(address, command.provision(address)) for address in range(4)]
    done: Counter[str] = Counter()

    def perhaps(address: int) -> None:
        if dice.random() < 0.1:
            done["changed"] += 1
            nodes[address].root = command.provision(address)

    def slot(address: int) -> tuple[int, int]:
        perhaps(address)
        return 1, 1

    def turn(node: Node) -> None:
        if node.session is None:
            joined(daemon, node)
        perhaps(node.address)
        daemon.keyring.seal(node.address, LAMP_SET, b"on")
        done["sealed"] += 1
        perhaps(node.address)
        daemon.keyring.open(node.seal(HEALTH, b"well"))
        perhaps(node.address)
        daemon.keyring.commit()
        done["opened"] += 1

    daemon.keyring._slot = slot
    with watched(monkeypatch):
        for number in range(600):
            node = nodes[number % 4]
            if dice.random() < 0.02:
                daemon.crash()
                daemon.start()
                daemon.keyring._slot = slot
            try:
                turn(node)
            except WireError as error:
                done[error.reason] += 1
                node.session = None
    command.close()
    assert set(done) == {"changed", "sealed", "opened", "session", "address"}
    assert min(done.values()) > 10
