"""No (key, nonce) pair is ever used twice, whatever loses power, gets lost or is restored."""

from __future__ import annotations

import random
import shutil
from contextlib import suppress
from pathlib import Path

import pytest
from felinar_wire import WireError

from tests.protocol.security_helpers import HEALTH, LAMP_SET, REPORT, Host, Node, Nvs, PowerCut, watched


def talk(host: Host, node: Node, frames: int = 3) -> None:
    """Some frames each way; both ends open what the other sealed."""
    for i in range(frames):
        body = bytes((i, node.boots & 255))
        assert host.open(node.seal(REPORT, body))[3] == body
        assert node.open(host.keyring.seal(node.address, LAMP_SET, body))[2] == body


def test_brown_out_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(tmp_path)
    node = Node(5, host.store.provision(5))
    chance = random.Random(7)
    joined = cut = 0
    counters = set()
    with watched(monkeypatch) as watch:
        for _ in range(10_000):
            # Where the supply fails: before or after the counter is on flash, before or after the answer, while talking.
            where = chance.randrange(6)
            node.nvs.cut = ("before", "after", "", "", "", "")[where]
            try:
                request = node.boot()
            except PowerCut:
                cut += 1
                continue
            counters.add(node.counter)
            if where == 2:
                continue
            answer = host.keyring.answer(request)
            if where == 3:
                continue
            if where == 4:  # the first answer is lost
                assert host.keyring.answer(request) == answer
            node.accept(answer)
            joined += 1
            talk(host, node, chance.randrange(3))
        assert joined > 3000
        assert cut > 3000
        assert len(counters) > 6000
        assert len(watch.pairs) > 2 * joined
    assert sum(host.keyring.counts.values()) == 0


def test_lost_answer_is_sent_again_byte_for_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(tmp_path)
    node = Node(5, host.store.provision(5))
    with watched(monkeypatch) as watch:
        request = node.boot()
        answer = host.keyring.answer(request)
        host.time += 30
        assert host.keyring.answer(request) == answer
        host.stop()
        host.start()
        assert host.keyring.answer(request) == answer
        host.crash()
        host.start()
        assert host.keyring.answer(request) == answer
        assert len(watch.pairs) == 1
        node.accept(answer)
        talk(host, node)
        # Asked for again later, by an eavesdropper: the same bytes, and the session goes on.
        assert host.keyring.answer(request) == answer
        talk(host, node)


def test_host_restarts_and_crashes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(tmp_path)
    nodes = [Node(i, host.store.provision(i)) for i in range(1, 6)]
    chance = random.Random(3)
    with watched(monkeypatch):
        for node in nodes:
            node.accept(host.keyring.answer(node.boot()))
        kept = []
        for _ in range(60):
            for node in nodes:
                talk(host, node, chance.randrange(1, 40))
                kept.append(node.seal(REPORT, b"kept"))
                host.open(kept[-1])
            host.time += 60
            host.stop() if chance.randrange(2) else host.crash()
            host.start()
            assert host.store.discarded == ""
            for data in kept[-20:]:
                with pytest.raises(WireError, match=r"replay|old"):
                    host.keyring.open(data)


def test_what_was_opened_but_not_committed_may_come_again(tmp_path: Path) -> None:
    host = Host(tmp_path)
    node = Node(5, host.store.provision(5))
    node.accept(host.keyring.answer(node.boot()))
    data = node.seal(REPORT, b"x")
    host.keyring.open(data)
    host.crash()
    host.start()
    assert host.open(data).body == b"x"
    host.crash()
    host.start()
    with pytest.raises(WireError, match="replay"):
        host.open(data)


@pytest.mark.parametrize("how", ["backup", "file", "whole folder", "over the file"])
@pytest.mark.parametrize("age", [60.0, 86400.0])
def test_host_store_restored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, age: float) -> None:
    live = tmp_path / "live"
    live.mkdir()
    host = Host(live)
    nodes = [Node(i, host.store.provision(i)) for i in range(1, 4)]
    heard: list[bytes] = []
    with watched(monkeypatch):
        for node in nodes:
            heard.append(node.boot())
            node.accept(host.keyring.answer(heard[-1]))
            talk(host, node)
        old = [node.seal(REPORT, b"old") for node in nodes]
        # The copy, made while the store is at rest.
        if how == "backup":
            host.store.backup(tmp_path / "copy.db")
        host.stop()
        if how in ("file", "over the file"):
            shutil.copy(host.path, tmp_path / "copy.db")
        if how == "whole folder":
            shutil.copytree(live, tmp_path / "copy")
        host.start()
        # Life goes on: counters move, nodes join anew.
        host.time += age
        for node in nodes:
            talk(host, node, 50)
        for node in nodes[1:]:
            heard.append(node.boot())
            node.accept(host.keyring.answer(heard[-1]))
            talk(host, node)
        host.stop()
        # The disk dies; the copy comes back.
        if how == "whole folder":
            shutil.rmtree(live)
            shutil.copytree(tmp_path / "copy", live)
        elif how == "over the file":
            host.path.write_bytes((tmp_path / "copy.db").read_bytes())
        else:
            host.path.unlink()
            shutil.copy(tmp_path / "copy.db", host.path)
        host.time += 30
        host.start()
        assert host.store.discarded
        for node, data in zip(nodes, old, strict=True):
            assert host.store.session(node.address) is None
            for frame in (data, node.seal(HEALTH, b"new")):
                with pytest.raises(WireError, match="session"):
                    host.keyring.open(frame)
            with pytest.raises(WireError, match="session"):
                host.keyring.seal(node.address, LAMP_SET, b"x")
        # An eavesdropper repeats every request that was ever sent: what was answered before the copy is spent or old;
        # what came after it is answered anew, under another nonce of the host's, and leads nowhere.
        for request in heard:
            with suppress(WireError):
                host.keyring.answer(request)
        assert set(host.keyring.counts) <= {"session", "join_old", "join_spent"}
        for node in nodes:
            if host.keyring.joined(node.address):
                with pytest.raises(WireError, match=r"tag|replay"):
                    node.open(host.keyring.seal(node.address, LAMP_SET, b"x"))
        # The nodes notice that nothing is acknowledged, and join.
        for node in nodes:
            node.accept(host.keyring.answer(node.boot()))
            talk(host, node, 60)
        host.stop()
        host.start()
        assert host.store.discarded == ""
        for node in nodes:
            talk(host, node)


def test_a_restored_host_whose_clock_repeats_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same join answered twice in the same millisecond, by a host that forgot: still not the same key."""
    host = Host(tmp_path)
    node = Node(5, host.store.provision(5))
    host.store.backup(tmp_path / "copy.db")
    with watched(monkeypatch):
        request = node.boot()
        first = host.keyring.answer(request)
        node.accept(first)
        talk(host, node)
        host.crash()
        (tmp_path / "copy.db").replace(host.path)
        for leftover in ("keys.db-wal", "keys.db-shm"):
            (tmp_path / leftover).unlink(missing_ok=True)
        host.start()
        second = host.keyring.answer(request)
        assert second[5:10] == first[5:10]
        assert second[10:12] != first[10:12]
        with pytest.raises(WireError, match=r"tag|replay"):
            node.open(host.keyring.seal(5, LAMP_SET, b"x"))
        with pytest.raises(WireError, match="tag"):
            host.keyring.open(node.seal(REPORT, b"x"))


def test_node_restored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(tmp_path)
    node = Node(5, host.store.provision(5))
    with watched(monkeypatch):
        for _ in range(20):
            node.accept(host.keyring.answer(node.boot()))
            talk(host, node)
        # A backup holds neither key nor counter: what comes back from one is keyed anew, and starts at 1.
        host.keyring.forget(5)
        restored = Node(5, host.store.provision(5))
        for _ in range(20):
            restored.accept(host.keyring.answer(restored.boot()))
            talk(host, restored)
        assert restored.root != node.root
        # The old board, or an image of its whole flash, gets nowhere with the old key.
        with pytest.raises(WireError, match="tag"):
            host.keyring.answer(node.boot())


def test_cloned_flash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of a node's whole flash, key and counter included, can't make it repeat a nonce, and is noticed."""
    host = Host(tmp_path)
    node = Node(5, host.store.provision(5))
    with watched(monkeypatch):
        node.accept(host.keyring.answer(node.boot()))
        clone = Node(5, node.root, Nvs(node.nvs.value))
        for _ in range(5):
            node.accept(host.keyring.answer(node.boot()))
            talk(host, node)
        for _ in range(4):
            with pytest.raises(WireError, match="join_old"):
                host.keyring.answer(clone.boot())
        clone.boots = node.boots + 1  # the last counter again, with other words: no second answer
        with pytest.raises(WireError, match="join_spent"):
            host.keyring.answer(clone.boot())
        talk(host, node)
    assert host.keyring.refused[5] == {"join_old": 4, "join_spent": 1}
