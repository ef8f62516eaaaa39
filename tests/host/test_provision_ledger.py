"""The ledger: one identity for one board, one board for one identity, whatever is asked."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from felinar.provision.errors import ProvisionError
from felinar.provision.ledger import Ledger
from felinar.provision.plan import PlanEntry
from felinar.provision.records import Record, State
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from tests.host.bench_of_boards import entries, mac

A, B, C = mac(1), mac(2), mac(3)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(tmp_path / "flash.db", now=lambda: 1_800_000_000.0)
    yield ledger
    ledger.close()


def through(ledger: Ledger, record: Record, board: str, last: State) -> None:
    for state in (State.KEY_STORED, State.WRITTEN, State.PROVEN, State.READY, State.LABELLED):
        ledger.advance(record.address, board, state)
        if state is last:
            return


def test_a_plan_comes_in_its_order_with_lowest_free_addresses(ledger: Ledger) -> None:
    plan = entries(4)
    plan[1] = msgspec.structs.replace(plan[1], address=1)
    merged = ledger.merge(plan, used=[2])
    assert merged.added == ["B-0001", "B-0002", "B-0003", "B-0004"]
    assert [record.address for record in ledger.records()] == [3, 1, 4, 5]
    assert ledger.merge(plan).same == 4
    assert ledger.find("b-0002").address == 1
    assert [r.entry.pole for r in ledger.records(["B-0004", "b-0001"])] == ["B-0001", "B-0004"]


def test_a_plan_that_changed(ledger: Ledger) -> None:
    ledger.merge(entries(3))
    taken = ledger.take(A).record
    plan = [msgspec.structs.replace(entry, name="Other") for entry in entries(2)]
    merged = ledger.merge([*plan, PlanEntry("N", "New", 1, 2, address=9)])
    assert (merged.added, merged.changed, merged.differ, merged.same) == (["N"], ["B-0002"], ["B-0001"], 0)
    assert ledger.find("B-0001") == taken
    assert ledger.find("B-0002").entry.name == "Other"
    assert len(ledger.records()) == 4
    # The address that it has is no other one.
    assert ledger.merge([msgspec.structs.replace(taken.entry, address=1)]).same == 1


@pytest.mark.parametrize("address", [2, 7])
def test_an_address_of_another_is_refused_and_nothing_of_the_plan_taken_over(ledger: Ledger, address: int) -> None:
    ledger.merge(entries(2))
    plan = [*entries(3)[2:], PlanEntry("N", "New", 1, 2, address=address)]
    with pytest.raises(ProvisionError, match=f"address {address}, which (is pole B-0002's|has a key)"):
        ledger.merge(plan, used=[7])
    assert len(ledger.records()) == 2


def test_an_address_is_not_given_again_after_its_pole_got_another(ledger: Ledger) -> None:
    ledger.merge(entries(1))
    ledger.merge([msgspec.structs.replace(entries(1)[0], address=5)])
    ledger.merge([PlanEntry("N", "New", 1, 2)])
    assert ledger.find("N").address == 2


def test_a_board_goes_on_with_what_it_has(ledger: Ledger) -> None:
    ledger.merge(entries(2))
    first = ledger.take(A.upper())
    assert (first.fresh, first.done, first.record.address) == (True, False, 1)
    assert ledger.take(B).record.address == 2
    with pytest.raises(ProvisionError, match=r"No pole of the plan waits.*2 belong to boards that are not done"):
        ledger.take(C)
    ledger.advance(1, A, State.KEY_STORED)
    ledger.fail(1, A, "no-sync", "it did not answer")
    record = ledger.find("B-0001")
    assert (record.state, record.reached, record.code) == (State.FAILED, State.KEY_STORED, "no-sync")
    again = ledger.take(":".join(A[i : i + 2] for i in range(0, 12, 2)))
    assert (again.fresh, again.record.address, again.record.touched, again.record.code) == (False, 1, True, "")
    through(ledger, again.record, A, State.LABELLED)
    assert ledger.take(A).done
    assert [past.event for past in ledger.history(1)] == [
        "added", "taken", "key stored", "failed", "resumed", "key stored", "written", "proven", "ready", "labelled",
    ]  # fmt: skip
    assert len(ledger.history()) == 12


def test_a_board_that_was_interrupted_after_its_proof_is_not_done(ledger: Ledger) -> None:
    ledger.merge(entries(1))
    ledger.take(A)
    ledger.advance(1, A, State.KEY_STORED, line="radio")
    through_proof = (State.WRITTEN, State.PROVEN)
    for state in through_proof:
        ledger.advance(1, A, state)
    record = ledger.find("B-0001")
    assert (record.state, record.keyed, record.line) == (State.PROVEN, True, "radio")
    again = ledger.take(A)
    assert (again.done, again.fresh, again.record.address) == (False, False, 1)
    through(ledger, again.record, A, State.READY)
    assert ledger.take(A).done


def test_what_was_not_written_goes_to_the_next_board(ledger: Ledger) -> None:
    ledger.merge(entries(2))
    ledger.take(A)
    ledger.fail(1, A, "no-sync", "")
    assert ledger.take(B).record.address == 2
    with pytest.raises(ProvisionError, match="waits"):
        ledger.take(C, skip=[1])
    assert ledger.take(C).record.address == 1
    assert ledger.of_mac(A) is None
    with pytest.raises(ProvisionError, match="waits"):
        ledger.take(A)


def test_what_may_be_on_a_board_stays_with_it_until_it_is_freed(ledger: Ledger) -> None:
    ledger.merge(entries(1))
    ledger.take(A)
    ledger.advance(1, A, State.KEY_STORED)
    ledger.fail(1, A, "write", "")
    with pytest.raises(ProvisionError, match="waits"):
        ledger.take(B)
    assert ledger.free("B-0001").state is State.WAITING
    assert ledger.free("B-0001").state is State.WAITING
    assert ledger.take(B).record.address == 1
    with pytest.raises(ProvisionError, match=f"is {':'.join(['24', '6f', '28', '00', '00', '02'])}'s"):
        ledger.advance(1, A, State.KEY_STORED)


def test_only_an_explicit_replace_takes_a_proven_identity(ledger: Ledger) -> None:
    ledger.merge(entries(2))
    through(ledger, ledger.take(A).record, A, State.LABELLED)
    through(ledger, ledger.take(B).record, B, State.READY)
    with pytest.raises(ProvisionError, match="is 'labelled' on the board") as caught:
        ledger.free("B-0001")
    assert "--replace --pole B-0001" in caught.value.remedy
    taken = ledger.take(B, replace="b-0001")
    assert (taken.record.address, taken.record.mac, taken.record.reached) == (1, B, State.TAKEN)
    assert ledger.find("B-0002").state is State.WAITING
    assert ledger.of_mac(A) is None
    assert ledger.take(A).record.address == 2
    with pytest.raises(ProvisionError, match="Pole B-0001 can't have this board: wrong chip"):
        ledger.take(A, replace="B-0001", unfit=lambda entry: "wrong chip.")
    assert ledger.find("B-0001").mac == B
    with pytest.raises(ProvisionError, match="no pole 'X'"):
        ledger.take(A, replace="X")


def test_a_revoked_board_is_not_written_by_mistake(ledger: Ledger) -> None:
    ledger.merge(entries(2))
    through(ledger, ledger.take(A).record, A, State.PROVEN)
    record = ledger.revoke(1, "stolen")
    assert record is not None
    assert (record.state, record.detail) == (State.REVOKED, "stolen")
    with pytest.raises(ProvisionError, match="was pole B-0001 and its key was revoked"):
        ledger.take(A)
    assert ledger.take(B).record.address == 2
    assert ledger.take(C, replace="B-0001").record.address == 1
    assert ledger.revoke(77, "") is None


def test_a_board_that_is_flashed_without_the_plan(ledger: Ledger) -> None:
    ledger.merge(entries(2))
    through(ledger, ledger.take(A).record, A, State.LABELLED)
    ledger.alone(C, 9)
    for board, address, replace in ((C, 2, False), (C, 2, True), (C, 1, True), (A, 2, True)):
        with pytest.raises(ProvisionError, match=f"The address {address} is kept for pole B-000{address}"):
            ledger.alone(board, address, replace=replace)
    for address in (1, 9):
        with pytest.raises(ProvisionError, match="is pole B-0001, node 1"):
            ledger.alone(A, address)
    ledger.alone(A, 1, replace=True)
    assert ledger.find("B-0001").mac == A
    ledger.alone(A, 9, replace=True)
    assert ledger.find("B-0001").state is State.WAITING
    assert ledger.history(1)[-1].detail == "its board became node 9, without the plan"


def test_boards_without_a_pole(ledger: Ledger) -> None:
    ledger.merge(entries(1))
    ledger.begin(A, "bridge", "", "heltec_v3", port="/dev/ttyUSB0")
    ledger.begin(B, "lamp", "radio", "heltec_v3", address=7, name="one")
    for state in (State.WRITTEN, State.READY):
        ledger.step(A, state)
    ledger.step(B, State.FAILED, "radio", "it does not answer")
    bridge, lamp = ledger.loose()
    assert (bridge.mac, bridge.role, bridge.address, bridge.state) == (A, "bridge", 0, State.READY)
    assert (lamp.mac, lamp.line, lamp.address, lamp.state, lamp.code) == (B, "radio", 7, State.FAILED, "radio")
    with pytest.raises(ProvisionError, match="is a bridge"):
        ledger.take(A)
    assert ledger.take(B).record.address == 1
    assert ledger.loose_of(B) is None
    with pytest.raises(ProvisionError, match="was given to a pole"):
        ledger.step(B, State.READY)
    assert ledger.take(A, replace="B-0001").record.mac == A
    assert ledger.loose() == []


def test_a_ledger_of_the_first_version_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "flash.db"
    with_new = Ledger(path)
    with_new.merge(entries(3))
    through(with_new, with_new.take(A).record, A, State.PROVEN)
    through(with_new, with_new.take(B).record, B, State.PROVEN)
    with_new.fail(2, B, "self-test", "bh1750")
    with_new.close()
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.executescript("DROP TABLE loose; ALTER TABLE entry DROP COLUMN line; PRAGMA user_version = 1")
    for _ in range(2):
        ledger = Ledger(path)
        records = ledger.records()
        assert [r.state for r in records] == [State.READY, State.FAILED, State.WAITING], "proven was done then"
        assert [r.reached for r in records] == [State.READY, State.PROVEN, State.WAITING]
        assert ledger.take(A).done
        assert ledger.loose() == []
        ledger.close()


def test_boards_that_do_not_fit(ledger: Ledger) -> None:
    ledger.merge([*entries(2, board="heltec_v3"), PlanEntry("X", "X", 1, 2, board="sim")])
    assert ledger.take(A, unfit=lambda e: "" if e.board == "sim" else "wrong chip.").record.entry.pole == "X"
    with pytest.raises(ProvisionError, match="None of the 2 poles that wait can have this board: wrong chip"):
        ledger.take(B, unfit=lambda e: "wrong chip.")
    with pytest.raises(ProvisionError, match="waits"):
        ledger.take(B, poles=["X"])


def test_steps_can_not_be_left_out(ledger: Ledger) -> None:
    ledger.merge(entries(1))
    ledger.take(A)
    for state in (State.WRITTEN, State.PROVEN, State.READY, State.LABELLED, State.TAKEN):
        with pytest.raises(ProvisionError, match="can't follow"):
            ledger.advance(1, A, state)
    through(ledger, ledger.find("B-0001"), A, State.LABELLED)
    with pytest.raises(ProvisionError, match="can't fail"):
        ledger.fail(1, A, "x", "")
    with pytest.raises(ProvisionError, match="no MAC"):
        ledger.take("24:6f")


def test_files_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "flash.db"
    path.write_bytes(b"x" * 5000)
    with pytest.raises(ProvisionError, match="not a sound ledger"):
        Ledger(path)
    assert path.read_bytes() == b"x" * 5000
    other = sqlite3.connect(tmp_path / "other.db", isolation_level=None)
    other.execute("CREATE TABLE entry (x)")
    with pytest.raises(ProvisionError, match="is not a ledger"):
        Ledger(tmp_path / "other.db")
    other.close()
    Ledger(tmp_path / "new.db").close()
    with sqlite3.connect(tmp_path / "new.db", isolation_level=None) as db:
        db.execute("PRAGMA user_version=9")
    db.close()
    with pytest.raises(ProvisionError, match="newer Felinar"):
        Ledger(tmp_path / "new.db")


class Life(RuleBasedStateMachine):
    """Whatever is done in whatever order: an identity that was written moves only when somebody asked for it."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger(Path(":memory:"))
        self.ledger.merge(entries(3))
        self.written: dict[int, str] = {}

    boards = st.sampled_from([A, B, C, mac(4)])
    poles = st.sampled_from(["B-0001", "B-0002", "B-0003"])
    states = st.sampled_from([State.KEY_STORED, State.WRITTEN, State.PROVEN, State.READY, State.LABELLED])

    @rule(board=boards)
    def take(self, board: str) -> None:
        try:
            taken = self.ledger.take(board)
        except ProvisionError:
            return
        assert self.written.get(taken.record.address, board) == board

    @rule(board=boards, pole=poles)
    def replace(self, board: str, pole: str) -> None:
        taken = self.ledger.take(board, replace=pole).record
        self.written = {a: m for a, m in self.written.items() if a != taken.address and m != board}

    @rule(pole=poles, board=boards, state=states)
    def advance(self, pole: str, board: str, state: State) -> None:
        address = self.ledger.find(pole).address
        try:
            self.ledger.advance(address, board, state)
        except ProvisionError:
            return
        self.written[address] = board

    @rule(pole=poles, board=boards)
    def fail(self, pole: str, board: str) -> None:
        try:
            self.ledger.fail(self.ledger.find(pole).address, board, "write", "")
        except ProvisionError:
            return

    @rule(pole=poles)
    def free(self, pole: str) -> None:
        try:
            self.written.pop(self.ledger.free(pole).address, None)
        except ProvisionError:
            return

    @rule(pole=poles)
    def revoke(self, pole: str) -> None:
        self.ledger.revoke(self.ledger.find(pole).address, "")

    @invariant()
    def holds(self) -> None:
        records = self.ledger.records()
        macs = [record.mac for record in records if record.mac]
        assert len(set(macs)) == len(macs)
        for address, board in self.written.items():
            record = self.ledger.of_address(address)
            assert record is not None
            assert record.mac == board
            assert record.touched


def test_any_order_of_things() -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Life,
        settings=settings(
            max_examples=40, stateful_step_count=25, deadline=None, derandomize=True, database=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )  # fmt: skip
