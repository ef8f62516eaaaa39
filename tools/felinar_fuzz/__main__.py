"""Command line: python -m felinar_fuzz [--seconds N | --runs N] [--target NAME] [--json], and --replay for one input."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from felinar_fuzz.search import FuzzError, Result, fault, search
from felinar_fuzz.targets import TARGETS

FOLDER = Path("build/fuzz")


def _arguments(given: list[str] | None) -> argparse.Namespace:
    width = max(map(len, TARGETS))
    parser = argparse.ArgumentParser(
        prog="python -m felinar_fuzz",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Looks for bytes that break the wire: inputs are bred by the code that they reach, and each is checked\n"
        "for the properties of its target. Exit status 1 when something was found, 2 when nothing could be tried.",
        epilog="targets:\n"
        + "\n".join(f"  {name:{width}}  {target.about}" for name, target in TARGETS.items())
        + "\n\nexamples:\n  python -m felinar_fuzz --seconds 600\n  python -m felinar_fuzz --target codec --runs 100000 --seed 1\n"
        "  python -m felinar_fuzz --target codec --replay 0000",
    )
    much = parser.add_mutually_exclusive_group()
    much.add_argument(
        "--seconds", type=float, default=60, metavar="N", help="search so long, all targets together (60)"
    )
    much.add_argument("--runs", type=int, metavar="N", help="N runs of each target, fewer of one whose runs take long")
    much.add_argument(
        "--replay", metavar="HEX", help="check this one input of --target, without a search; - is an empty one"
    )
    parser.add_argument(
        "--target", choices=[*TARGETS, "all"], default="all", help="what to search; all of them by default"
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of the search's chance; 0, the default, draws one"
    )
    parser.add_argument("--folder", type=Path, default=FOLDER, help=f"where corpus and logs are kept ({FOLDER})")
    parser.add_argument("--json", action="store_true", help="one JSON object a line for each target")
    arguments = parser.parse_args(given)
    if arguments.replay is not None:
        if arguments.target == "all":
            parser.error("--replay needs the --target whose input it is")
        try:
            arguments.replay = bytes.fromhex("" if arguments.replay == "-" else arguments.replay)
        except ValueError:
            parser.error("--replay takes hex digits, or - for an empty input")
    if arguments.seconds <= 0 or (arguments.runs is not None and arguments.runs <= 0):
        parser.error("--seconds and --runs are above 0")
    return arguments


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


def _report(result: Result, as_json: bool) -> None:
    if as_json:
        found = [{"input": one.data.hex(), "fault": one.fault, "replay": one.replay} for one in result.found]
        figures = {key: getattr(result, key) for key in ("runs", "seeds", "corpus", "coverage", "features")}
        _say(json.dumps({"target": result.target, **figures, "seconds": round(result.seconds, 1), "found": found}))
        return
    _say(
        f"{result.target:10} {result.runs:9} runs in {result.seconds:5.0f} s, {result.coverage} places reached in "
        f"{result.features} ways, {result.corpus} inputs kept, {len(result.found)} found"
    )
    for one in result.found:
        _say(f"  {one.fault}\n  {one.replay}")


def _replay(name: str, data: bytes, as_json: bool) -> int:
    target = TARGETS[name]
    broken = fault(target, data)
    question = target.question(data) if target.question else None
    if as_json:
        _say(json.dumps({"target": name, "input": data.hex(), "call": question, "fault": broken or None}))
    else:
        if question:
            _say(f"{question[0]} {json.dumps(question[1])}")
        _say(broken or "every property holds")
    return int(bool(broken))


def main(given: list[str] | None = None) -> int:
    arguments = _arguments(given)
    if arguments.replay is not None:
        return _replay(arguments.target, arguments.replay, arguments.json)
    names = list(TARGETS) if arguments.target == "all" else [arguments.target]
    folder = arguments.folder.resolve()
    found = False
    try:
        for name in names:
            runs = max(1, arguments.runs // TARGETS[name].cost) if arguments.runs else 0
            result = search(name, folder, seconds=arguments.seconds / len(names), runs=runs, seed=arguments.seed)
            _report(result, arguments.json)
            found = found or bool(result.found)
    except FuzzError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 2
    except KeyboardInterrupt:
        print("interrupted; the corpus is kept", file=sys.stderr)  # noqa: T201
        return 130
    return int(found)


if __name__ == "__main__":
    sys.exit(main())
