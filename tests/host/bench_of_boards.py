"""A bench of boards for tests of batches: each board remembers, in a file, what was written to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from felinar.flash.catalogue import FlashError
from felinar.flash.chip import Chip
from felinar.flash.ports import Port
from felinar.flash.progress import OnProgress, Progress
from felinar.keys import SqliteKeyStore
from felinar.provision.bench import Job, Work
from felinar.provision.books import Books
from felinar.provision.ledger import Ledger
from felinar.provision.plan import PlanEntry

SECRET = bytes(range(32))


def mac(number: int) -> str:
    return f"246f2800{number:04x}"


def entries(count: int, **more: object) -> list[PlanEntry]:
    return [PlanEntry(f"B-{n:04}", f"Strada Unirii {n}", 47.7, 26.6, **more) for n in range(1, count + 1)]  # type: ignore[arg-type]


def books(folder: Path) -> Books:
    keys = SqliteKeyStore(folder / "keys.db", SECRET, create=True, now=lambda: 1_800_000_000, machine=lambda: "m")
    try:
        return Books(Ledger(folder / "flash.db"), keys)
    except BaseException:
        keys.close()
        raise


class Boards:
    """`faults[mac]` are failures to come: (stage, code). A board's file holds the address and key that it has in flash,
    and what it speaks through: one for the radio is written for its cable, and switched over in the end."""

    def __init__(
        self, folder: Path, macs: Sequence[str], unfit: Callable[[PlanEntry, Chip], str] | None = None
    ) -> None:
        self.folder = folder
        self.plugged = [Port(f"/dev/ttyUSB{n}", description=m) for n, m in enumerate(macs)]
        self.faults: dict[str, list[tuple[str, str]]] = {}
        self.resets = 0
        self._unfit = unfit or (lambda entry, chip: "")

    def ports(self) -> Sequence[Port]:
        return self.plugged

    def unfit(self, entry: PlanEntry, chip: Chip) -> str:
        return self._unfit(entry, chip)

    def has(self, board: str) -> tuple[int, bytes] | None:
        """What is in a board's flash."""
        try:
            address, key, _ = (self.folder / board).read_text().split()
        except FileNotFoundError:
            return None
        return int(address), bytes.fromhex(key)

    def line(self, board: str) -> str:
        """What a board speaks through: wired, radio, or empty."""
        try:
            return (self.folder / board).read_text().split()[2]
        except FileNotFoundError:
            return ""

    def _write(self, board: str, job: Job, line: str) -> None:
        new = self.folder / f"{board}.new"
        new.write_text(f"{job.address} {job.key.hex()} {line}")
        new.replace(self.folder / board)

    def _fault(self, board: str, stage: str) -> None:
        queue = self.faults.get(board, [])
        if queue and queue[0][0] == stage:
            raise FlashError(queue.pop(0)[1])

    def flash(self, port: Port, work: Work, on_progress: OnProgress) -> None:
        board = port.description
        on_progress(Progress(port.device, "connect"))
        self._fault(board, "connect")
        job = work.found(Chip("esp32", board, 4))
        if job is None:
            return
        on_progress(Progress(port.device, "build"))
        self._fault(board, "build")
        line = job.entry.line or "wired"
        work.store_key(line)
        on_progress(Progress(port.device, "write", 50, 100))
        self._write(board, job, "wired")
        self._fault(board, "write")
        work.written()
        on_progress(Progress(port.device, "boot"))
        self._fault(board, "prove")
        if self.has(board) != (job.address, job.key):
            raise FlashError("proof-wrong")
        work.proven()
        self._fault(board, "test")
        if line == "radio":
            self._write(board, job, "radio")
            self._fault(board, "switch")
        work.ready()
        on_progress(Progress(port.device, "done"))
