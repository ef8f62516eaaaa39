"""`felinar keys`: nothing but sealed files leaves the store, machines agree afterwards, and revoked is revoked."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from felinar.config import Config
from felinar.errors import FelinarError
from felinar.keys import KeyStoreError, SessionState, carry, commands
from felinar.keys.place import open_keys
from felinar.provision import command as provision
from felinar.provision.ledger import Ledger
from felinar.provision.records import State, shown_mac
from typer.testing import CliRunner, Result

from tests.host.bench_of_boards import entries, mac

PHRASE = "four words of a passphrase"
STATE = SessionState(3, 1, 1, b"u" * 16, b"d" * 16, b"request" * 2, b"answer" * 6)
Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(carry.seal, "__kwdefaults__", carry.seal.__kwdefaults__ | {"n": 1 << 4})
    monkeypatch.setenv("FELINAR_SECRET", str(tmp_path / "secret"))
    (tmp_path / "phrase").write_text(PHRASE + "\n")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a command on the data directory `where`; errors of ours are raised."""

    def run(*words: object, where: str = "laptop", answer: str = "") -> Result:
        args = [str(word) for word in words] + ["--data-dir", str(tmp_path / where)]
        result = CliRunner().invoke(commands.app, args, input=answer, env={"COLUMNS": "160"})
        if isinstance(result.exception, FelinarError):
            raise result.exception
        return result

    return run


@pytest.fixture
def laptop(tmp_path: Path) -> dict[int, bytes]:
    """Three poles: one done, one whose board has not proved its key, one that waits; a node without a plan."""
    folder = tmp_path / "laptop"
    open_keys(folder, create=True).close()
    with provision.opened(Config(data_dir=str(folder))) as books:
        books.merge(entries(3))
        keys = {}
        for number in (1, 2):
            taken, key = books.take(mac(number))
            books.store_key(taken.record.address, mac(number), key)
            keys[number] = key
        books.written(1, mac(1))
        books.proven(1, mac(1))
        books.ready(1, mac(1))
        keys[9] = books.keys.provision(9)
        keys[0x8001] = books.keys.zone_key(0x8001)
    store = open_keys(folder, role="sessions")
    store.begin(9, STATE)
    store.close()
    return keys


def listed(run: Run, where: str = "laptop") -> dict[int, str]:
    return {row["node"]: row["state"] for row in json.loads(run("list", "--json", where=where).output)}


def test_keys_are_listed_while_a_batch_flashes_and_a_daemon_runs(
    run: Run, laptop: dict[int, bytes], tmp_path: Path
) -> None:
    daemon = open_keys(tmp_path / "laptop", role="sessions")
    with provision.opened(Config(data_dir=str(tmp_path / "laptop"))) as books:
        assert listed(run) == {1: "active", 2: "pending", 9: "active"}
        assert "is pending" in run("show", 2).output
        with pytest.raises(KeyStoreError, match="Another command works with the key store"):
            run("rotate", 9)
        books.keys.provision(10)
    assert daemon.nodes() == [1, 9, 10]
    daemon.close()


def test_list_and_show(run: Run, laptop: dict[int, bytes]) -> None:
    assert listed(run) == {1: "active", 2: "pending", 9: "active"}
    told = run("list").output
    assert "B-0002" in told
    assert shown_mac(mac(2)) in told
    one = run("show", "b-0001").output
    assert f"key {commands.check_value(laptop[1])} is active, join counter 0, no session" in one
    assert [line.split()[1] for line in one.splitlines()[1:]] == ["added", "taken", "key", "written", "proven", "ready"]
    assert "in session" in run("show", 9).output
    assert f"pending for {shown_mac(mac(2))}" in run("show", 2).output
    told += one + run("show", 1, "--json").output + run("list", "--json").output
    for key in laptop.values():
        assert key.hex() not in told
    with pytest.raises(KeyStoreError, match="Nothing is known of node 77"):
        run("show", 77)


def test_to_another_machine_and_back(run: Run, laptop: dict[int, bytes], tmp_path: Path) -> None:
    file = tmp_path / "x.keys"
    phrase = ("--passphrase-file", tmp_path / "phrase")
    assert "2 keys, 1 pending ones, 1 of zones" in run("export", file, *phrase).output
    assert file.stat().st_mode & 0o777 == 0o600
    content = file.read_bytes()
    for key in laptop.values():
        assert key not in content
        assert key.hex().encode() not in content
    with pytest.raises(KeyStoreError, match="exists"):
        run("export", file, *phrase)
    told = run("import", file, *phrase, where="host").output
    assert "2 keys new, 0 known, 0 replaced, 1 pending; 2 poles new in the ledger" in told
    assert listed(run, "host") == {1: "active", 2: "pending", 9: "active"}
    told = run("import", file, *phrase, where="host").output
    assert "0 keys new, 2 known, 0 replaced, 1 pending; 0 poles new" in told
    store = open_keys(tmp_path / "host")
    assert {a: store.root(a) for a in store.nodes()} == {1: laptop[1], 9: laptop[9]}
    assert store.pending_key(2, mac(2)) == laptop[2]
    assert (store.last_join(9), store.session(9)) == (3, None)
    assert store.zone_key(0x8001) == laptop[0x8001]
    store.close()
    ledger = Ledger(tmp_path / "host" / "flash.db")
    assert {r.entry.pole: (r.state, r.mac) for r in ledger.records()} == {
        "B-0001": (State.READY, mac(1)),
        "B-0002": (State.KEY_STORED, mac(2)),
    }
    ledger.close()
    # The board that is not done goes on at the other machine, with its identity and key.
    with provision.opened(Config(data_dir=str(tmp_path / "host"))) as books:
        taken, key = books.take(mac(2))
        assert (taken.record.address, key) == (2, laptop[2])


def test_what_was_handed_over_is_forgotten(run: Run, laptop: dict[int, bytes], tmp_path: Path) -> None:
    file, phrase = tmp_path / "x.keys", ("--passphrase-file", tmp_path / "phrase")
    run("export", file, *phrase)
    store = open_keys(tmp_path / "laptop")
    new = store.provision(9)
    store.close()
    assert run("forget", file, *phrase, answer="n\n").exit_code == 1
    assert "1 keys removed here" in run("forget", file, *phrase, "--yes").output
    assert listed(run) == {2: "pending", 9: "active"}
    assert "handed over" in run("show", 1).output
    store = open_keys(tmp_path / "laptop")
    assert store.root(9) == new
    store.close()
    with provision.opened(Config(data_dir=str(tmp_path / "laptop"))) as books:
        assert books.take(mac(1))[0].done  # its identity stays taken
    with pytest.raises(KeyStoreError, match="nothing was removed"):
        run("forget", file, *phrase, "--yes")


def test_other_keys_are_not_overwritten_by_the_way(run: Run, laptop: dict[int, bytes], tmp_path: Path) -> None:
    file, phrase = tmp_path / "x.keys", ("--passphrase-file", tmp_path / "phrase")
    run("export", file, 9, 2, *phrase)
    store = open_keys(tmp_path / "host", create=True)
    other = store.provision(9)
    store.close()
    with pytest.raises(KeyStoreError, match="Another key is here already for node 9; nothing was taken over"):
        run("import", file, *phrase, where="host")
    assert listed(run, "host") == {9: "active"}
    assert "1 replaced" in run("import", file, "--replace", *phrase, where="host").output
    store = open_keys(tmp_path / "host")
    assert store.root(9) == laptop[9] != other
    assert store.zones() == []
    store.close()
    with pytest.raises(KeyStoreError, match="no key of node 77"):
        run("export", tmp_path / "y.keys", 77, *phrase)
    assert not (tmp_path / "y.keys").exists()


def test_an_identity_that_another_board_has_there(run: Run, laptop: dict[int, bytes], tmp_path: Path) -> None:
    file, phrase = tmp_path / "x.keys", ("--passphrase-file", tmp_path / "phrase")
    run("export", file, 1, *phrase)
    open_keys(tmp_path / "host", create=True).close()
    with provision.opened(Config(data_dir=str(tmp_path / "host"))) as books:
        books.merge(entries(1))
        books.take(mac(7))
    with pytest.raises(FelinarError, match=r"Pole B-0001 \(node 1\) is not the same in this ledger"):
        run("import", file, *phrase, where="host")
    assert listed(run, "host") == {}


def test_sealed_files_that_are_none(tmp_path: Path) -> None:
    content = carry.seal(carry.Parcel(1, [carry.Active(5, b"k" * 16, 0)]), PHRASE)
    assert carry.unseal(content, PHRASE).active[0].root == b"k" * 16
    with pytest.raises(KeyStoreError, match="passphrase is another one"):
        carry.unseal(content, PHRASE + "!")
    for position in range(0, len(content) - 2, 5):
        bad = bytearray(content)
        bad[position] ^= 1
        with pytest.raises(KeyStoreError):
            carry.unseal(bytes(bad), PHRASE)
    head = msgspec.json.decode(content)
    for name, value in (("n", 1 << 40), ("n", 12345), ("r", 1 << 20), ("p", 0), ("salt", ""), ("felinar_keys", 2)):
        with pytest.raises(KeyStoreError, match=r"not sensible|newer"):
            carry.unseal(msgspec.json.encode(head | {name: value}), PHRASE)
    with pytest.raises(KeyStoreError, match="11 characters, and at least 12"):
        carry.seal(carry.Parcel(1), "x" * 11)
    with pytest.raises(KeyStoreError, match="can't be read: no such file"):
        carry.read(tmp_path / "x")
    assert "k" * 16 not in repr(carry.unseal(content, PHRASE))


def test_the_real_work_of_a_passphrase() -> None:
    parcel = carry.Parcel(1, [carry.Active(5, b"k" * 16, 0)])
    content = carry.seal(parcel, PHRASE, n=carry.N)
    assert msgspec.json.decode(content)["n"] == 131072
    assert carry.unseal(content, PHRASE).active == parcel.active


def test_the_passphrase_is_not_asked_of_a_pipe(run: Run, laptop: dict[int, bytes], tmp_path: Path) -> None:
    with pytest.raises(KeyStoreError, match="no terminal to ask"):
        run("export", tmp_path / "x.keys")


def test_rotate(run: Run, laptop: dict[int, bytes], tmp_path: Path) -> None:
    with pytest.raises(KeyStoreError, match="Node 1 has no sealed session, and a key is never sent in clear") as caught:
        run("rotate", "B-0001")
    assert "felinar flash --replace" in caught.value.remedy
    store = open_keys(tmp_path / "laptop", role="sessions")
    store.begin(9, STATE)  # the daemon ends sessions when it must, as after the commands that came since
    store.close()
    assert "A new key waits for node 9" in run("rotate", 9).output
    assert "is pending (ordered) for air" in run("show", 9).output
    assert "pending (ordered)" in run("list").output
    assert "Zone 32769 has a new key" in run("rotate", "--zone", 0x8001).output
    store = open_keys(tmp_path / "laptop")
    assert store.root(9) == laptop[9]
    assert store.zone_key(0x8001) != laptop[0x8001]
    store.close()
    for words in ((), (9, "--zone", 5)):
        with pytest.raises(KeyStoreError, match="Name a node, or a zone"):
            run("rotate", *words)


def test_revoke(run: Run, laptop: dict[int, bytes], tmp_path: Path) -> None:
    assert run("revoke", 1, answer="n\n").exit_code == 1
    assert listed(run)[1] == "active"
    told = run("revoke", "B-0001", 2, 9, "--why", "stolen", "--zone", 0x8001, answer="y\n").output
    assert "Revoked: node 1 (B-0001), 2 (B-0002), 9. New key: zone 32769." in told
    assert listed(run) == {}
    store = open_keys(tmp_path / "laptop")
    assert (store.root(9), store.session(9), store.pending()) == (None, None, [])
    assert store.zone_key(0x8001) != laptop[0x8001]
    store.close()
    ledger = Ledger(tmp_path / "laptop" / "flash.db")
    assert [r.state for r in ledger.records()] == [State.REVOKED, State.REVOKED, State.WAITING]
    assert ledger.find("B-0001").detail == "stolen"
    ledger.close()
    assert "revoked" in run("show", 1).output
    with pytest.raises(KeyStoreError, match="Node 77 has no key"):
        run("revoke", 77, "--yes")
    with pytest.raises(FelinarError, match="no pole 'B-99'"):
        run("revoke", "B-99", "--yes")
    with (
        provision.opened(Config(data_dir=str(tmp_path / "laptop"))) as books,
        pytest.raises(FelinarError, match="its key was revoked"),
    ):
        books.take(mac(1))


def test_without_a_store_or_its_secret(run: Run, laptop: dict[int, bytes], tmp_path: Path) -> None:
    with pytest.raises(KeyStoreError, match="no key store"):
        run("list", where="nowhere")
    (tmp_path / "secret").unlink()
    with pytest.raises(KeyStoreError, match="is missing"):
        run("list")
    assert not (tmp_path / "secret").exists()
