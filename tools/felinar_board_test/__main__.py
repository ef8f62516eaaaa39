"""The command: python -m felinar_board_test [PORT]. Without a port it runs a virtual board of its own."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import ExitStack
from pathlib import Path

from felinar.errors import FelinarError

from felinar_board_test import own
from felinar_board_test.run import Order, Outcome, Report, run

NEEDS = """What a real board needs: MicroPython (felinar flash puts it there with the application), a cable that carries data, and nobody
else at its port. What is fitted is read from its board.json, or from --board. A sensor that is named there and not connected fails:
leave it out with --skip. The application is stopped by a reset and started again at the end; the lamp is lit meanwhile. All that
the board runs is in its RAM: its flash (key, counters, outbox, files) is compared before and after, and the one thing that moves on is
the count of its starts."""


class _Words:
    """For people."""

    def say(self, text: str) -> None:
        _line(f"… {text}")

    def outcome(self, outcome: Outcome) -> None:
        word = {"passed": "ok", "failed": "FAILED", "skipped": "skipped"}[outcome.status]
        took = f" ({outcome.seconds:.1f} s)" if outcome.seconds else ""
        _line(f"{word:8}{outcome.part:20} {outcome.text}{took}")

    def end(self, report: Report) -> None:
        found = [one.status for one in report.outcomes]
        sensors_and_vectors = (
            f"{found.count('passed')} parts passed, {found.count('failed')} failed, {found.count('skipped')} skipped"
        )
        _line(f"{'PASS' if report.passed else 'FAIL'}: {report.port}: {sensors_and_vectors}.")

    def failed(self, error: FelinarError) -> None:
        sys.stderr.write(f"felinar_board_test: {error}\n")


class _JsonLines:
    """For programs: `note`, `part`, and last `done` or `failed`."""

    def say(self, text: str) -> None:
        _object("note", text=text)

    def outcome(self, outcome: Outcome) -> None:
        _object("part", **vars(outcome))

    def end(self, report: Report) -> None:
        _object("done", **report.json())

    def failed(self, error: FelinarError) -> None:
        _object("failed", error=error.sentence, action=error.remedy)


def _line(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _object(event: str, **content: object) -> None:
    _line(json.dumps({"event": event, **content}, ensure_ascii=False))


def main(arguments: list[str] | None = None) -> int:
    """The exit status: 0 when all that was tried has passed, 2 when what was asked for does not exist, else 1."""
    parser = argparse.ArgumentParser(
        prog="felinar_board_test",
        description="Runs the protocol's vectors and the drivers' conformance on a board.",
        epilog=NEEDS,
    )
    parser.add_argument("port", nargs="?", help="a device, or rfc2217://host:port; default: a virtual board of its own")
    parser.add_argument("--board", default="", metavar="ID", help="board file, for a board without board.json")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="this part alone: protocol, drivers, a file of vectors, a driver; repeatable")  # fmt: skip
    parser.add_argument("--skip", action="append", default=[], metavar="NAME", help="leave a part out; repeatable")
    parser.add_argument("--source", action="append", default=[], type=Path, metavar="DIR", help="take modules from here (drivers/sht4x.py) in place of the checkout's; repeatable")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    given = parser.parse_args(arguments)
    screen = _JsonLines() if given.json else _Words()
    try:
        with ExitStack() as stack:
            port = given.port
            if not port:
                screen.say("no port was named: this is a virtual board of its own, with the application of `sim`")
                port = stack.enter_context(own.board()).url
            order = Order(port, given.board, tuple(given.only), tuple(given.skip), tuple(given.source))
            report = run(order, screen.say, screen.outcome)
    except FelinarError as error:
        screen.failed(error)
        return error.exit_status
    except KeyboardInterrupt:
        screen.failed(FelinarError("It was interrupted.", "Tap RESET on the board: it starts its application."))
        return 130
    screen.end(report)
    return 0 if report.passed else 1


if __name__ == "__main__":
    sys.exit(main())
