"""Everything that can go wrong between a plan, a bare board and a proven node: a code, the usual cause, and what to do."""

from __future__ import annotations

from typing import NamedTuple

from felinar.errors import ConfigError, FelinarError
from felinar.keys.interface import KeyStoreError


class Entry(NamedTuple):
    """`cause` is a sentence that is true whatever the particular case, `action` what a technician does about it."""

    cause: str
    action: str


CATALOGUE = {
    # What was asked for
    "no-port": Entry(
        "No serial port of a board was found.",
        "Plug the board in with a cable that carries data, or name the port with --port.",
    ),
    "several-ports": Entry(
        "More than one board is plugged in.", "Name one with --port, or take all of them with --watch."
    ),
    "board-unknown": Entry("There is no such board file, or it is unsound.", "Take one of those that are listed."),
    "config": Entry(
        "The node's configuration can't be used.", "Correct the value that is named; docs/architecture.md lists them."
    ),
    "application": Entry(
        "The application could not be compiled or packed for this board.",
        "Install Felinar anew (pip install --force-reinstall felinar); in a checkout run `make lint`.",
    ),
    "does-not-fit": Entry(
        "What the board is to get is larger than its partition.", "Take a smaller firmware, or a board with more flash."
    ),
    "no-radio": Entry(
        "A board without a radio can neither speak by radio nor be a bridge.",
        "Take a board that has one (boards/README.md), or --line wired.",
    ),
    # Firmware
    "firmware-missing": Entry(
        "The MicroPython image is neither here nor could it be downloaded.",
        "Download it from micropython.org on a machine that can, and name it with --firmware.",
    ),
    "firmware-unsound": Entry(
        "The file is no whole MicroPython image for an ESP32.",
        "Take the .bin of the board's download page (not the .app-bin), and download it again if it is cut short.",
    ),
    "firmware-chip": Entry("The firmware is for another chip.", "Take the image for the chip that is named."),
    "firmware-changed": Entry(
        "A firmware in the cache is not what was downloaded there first.",
        "Find out who changed it; delete it in the cache folder to download it anew.",
    ),
    # The line
    "port-gone": Entry("The port does not exist.", "Plug the board in again and look with `felinar ports`."),
    "port-busy": Entry("Another process holds the port.", "End that process: a daemon, a monitor, another terminal."),
    "port-denied": Entry(
        "This user may not open the port.", "Add the user to the port's group (usually dialout) and log in again."
    ),
    "port-refused": Entry(
        "Nobody answers at the network address of the port.", "Start what serves it, and check host and port."
    ),
    "no-sync": Entry(
        "The chip's boot loader does not answer.",
        "Hold BOOT, tap RESET, let go of BOOT and try again; else another cable or USB socket.",
    ),
    "connection-lost": Entry(
        "The line was lost in the middle of the work.",
        "Check cable and supply and flash again: the board is not ruined, and its key is kept.",
    ),
    # The board
    "wrong-chip": Entry("The board has another chip than its board file says.", "Choose the board file that fits."),
    "wrong-flash": Entry(
        "The board's flash is smaller than its board file says.", "Choose the board file that fits, or another board."
    ),
    "wrong-psram": Entry(
        "The board's PSRAM is not that of its board file.", "Choose the board file that fits the print on the module."
    ),
    "locked-chip": Entry(
        "The chip was locked by eFuses (secure boot, flash encryption or secure download).",
        "It can't be used here: take another board.",
    ),
    "stub": Entry(
        "The helper program could not be started in the chip's memory.", "Power the board off and on and try again."
    ),
    "write": Entry(
        "The flash does not hold what was written, at any speed.",
        "Try once more; if it fails at the same place again, the flash has a bad block: discard the board.",
    ),
    # The proof
    "silent": Entry(
        "The board was written but says no HELLO.",
        "Tap RESET; if it stays silent look at its line with `felinar monitor`: the firmware may not suit the module.",
    ),
    "other-node": Entry(
        "The node at the line is not the one that was written.", "Flash again, with one board at the port."
    ),
    "no-proof": Entry(
        "The node does not answer to the challenge of its key.",
        "Flash again: it runs an older application or has no key. The key is kept as pending.",
    ),
    "proof-wrong": Entry(
        "The node's proof is not that of the key it was given.",
        "Flash again; if it happens twice, keep the board aside: somebody may stand between. The key is kept as pending.",
    ),
    "self-test": Entry(
        "The node runs and has its key, but a part of it failed its self-test.",
        "Check the wiring of what is named (docs/technician.md), then `felinar selftest`.",
    ),
    # The radio
    "radio": Entry(
        "The radio of the board does not answer, or does not do what it is told.",
        "Check module, supply and wires of the radio (docs/wiring), and that the board file has its TCXO and switch; then flash again.",
    ),
    "not-switched": Entry(
        "The node is proven, but could not be switched over to its radio; it still speaks through its cable.",
        "Flash again; if it happens twice, take another cable or board.",
    ),
    "not-running": Entry(
        "The node was switched over to its radio, but is not seen to run with it.",
        "Flash again; if it happens twice, look at what it prints with `felinar repl`, or take another board.",
    ),
    "bridge-silent": Entry(
        "The board was written as a bridge, but does not speak as one.",
        "Tap RESET and look with `felinar monitor`; then flash again.",
    ),
    # The plan and the ledger
    "plan": Entry(
        "The plan can't be used, or there is none.",
        "Correct the line that is named and save it as 'CSV UTF-8'; `felinar flash --example` prints a plan.",
    ),
    "pole": Entry("The ledger has no such pole.", "`felinar flash --status` lists them; a plan brings new ones."),
    "address": Entry(
        "An address of the plan belongs to another node, or none is left.",
        "Leave the address empty, or choose another; `felinar keys revoke` takes a key out of use.",
    ),
    "plan-done": Entry("No pole waits for a board.", "Add poles to the plan, or name the pole that is to get a new board with --replace --pole."),
    "no-fit": Entry(
        "The board can't be what the poles that wait ask for.",
        "Name the board file with --board or in the plan, or take another board.",
    ),
    "revoked": Entry(
        "The board belonged to a pole, and its key was revoked.", "To give it a new key: --watch --replace --pole POLE."
    ),
    "given": Entry(
        "The pole, its address or the board is taken already.",
        "Look at them with `felinar flash --status`; --replace gives an identity to another board.",
    ),
    "moved-on": Entry(
        "The pole was freed, replaced or revoked while its board was being flashed.",
        "Look with `felinar flash --status`, and flash the board again. The key that it may have is kept.",
    ),
    "ledger": Entry(
        "The ledger can't be opened or written, so no board gets an identity.",
        "See to what the sentence says: disk, rights, another process; put a damaged one back from a backup.",
    ),
    "labels": Entry(
        "A label could not be made. The board is good without.", "`felinar flash --labels FILE` makes labels again."
    ),
    "mac": Entry("What was named is no MAC of a board.", "Write it as on its label: 24:6f:28:00:00:01."),
    # Ourselves
    "key-store": Entry(
        "The key store can't be opened or written, so nothing was written to the board.",
        "See to what the sentence says: disk, rights, another process.",
    ),
    "address-taken": Entry(
        "This address belongs to another board.",
        "Give this one another address, or say --replace when it takes the other's place.",
    ),
    "interrupted": Entry("It was interrupted.", "Flash again: the board is not ruined, and its key is kept as pending."),
    "stuck": Entry(
        "The flashing process stopped answering and was ended.", "Unplug the board, plug it in and flash again."
    ),
    "internal": Entry("The flashing process failed in a way that nobody foresaw.", "Report it with the text that is shown."),
}  # fmt: skip
"""By code. The order is that of the work."""


class FlashError(FelinarError):
    """A failure with its entry of the catalogue. `sentence` tells this case, `remedy` what to do."""

    def __init__(self, code: str, sentence: str = "", remedy: str = "") -> None:
        entry = CATALOGUE[code]
        super().__init__(sentence or entry.cause, remedy or entry.action)
        self.code = code

    def json(self) -> dict[str, str]:
        """What a program is told."""
        return told(self)


def told(error: FelinarError) -> dict[str, str]:
    """What a program is told of any failure: code, error, cause, action. Whatever has no code of its own is its layer's."""
    code = getattr(error, "code", "")
    if code not in CATALOGUE:
        code = (
            "key-store"
            if isinstance(error, KeyStoreError)
            else "config"
            if isinstance(error, ConfigError)
            else "internal"
        )
    entry = CATALOGUE[code]
    return {"code": code, "error": error.sentence, "cause": entry.cause, "action": error.remedy or entry.action}


def table() -> str:
    """The catalogue as a Markdown table, for docs/technician.md."""
    rows = ["| code | cause | action |", "|---|---|---|"]
    rows += [f"| `{code}` | {entry.cause} | {entry.action.replace('|', '/')} |" for code, entry in CATALOGUE.items()]
    return "\n".join(rows) + "\n"
