"""Writes tests/vectors/fuzz.json, what searches came upon: python -m tests.protocol.make_fuzz_vectors [--anew].

Of the calls that it has so far and those that the inputs in build/fuzz/corpus make, it takes the shortest that go another
way through the wire's code than the other vectors and those before, or are refused for another reason. Run it after a long
search, and when the messages change: then the results are made anew. Both interpreters are asked about every call, and the
script fails where they differ; with --anew it forgets the calls that the vectors have.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from felinar import wire_batch
from felinar_fuzz.targets import TARGETS
from felinar_wire import codec, schema

from tests.protocol import calls
from tests.support.micropython import PROTOCOL, ROOT, Worker

CORPUS = ROOT / "build" / "fuzz" / "corpus"
FILE = ROOT / "tests" / "vectors" / "fuzz.json"
WATCHED = {str(Path(codec.__file__).parent / name): name for name in ("serial.py", "frame.py", "core.py", "codec.py")}
WATCHED |= {str(Path(codec.__file__).parent / name): name for name in ("_kept_host.py", "bits.py", "batch.py")}
WATCHED[str(Path(wire_batch.__file__))] = "wire_batch.py"
READERS = {
    "deframe": "deframer",
    "unpack": "frame",
    "unkeep": "kept",
    "decode": "codec",
    "unbatch": "batch",
    "uncore": "core",
}  # calls that read bytes, and their targets
Question = tuple[str, list[Any]]
# Inputs that broke a property once, by their target; what is read of them is written again, and that is read again.
FOUND = {
    # A difference with appended fields, whose steady first fields changed, was not read as it was written.
    "codec": ["007e1900000000000000000000000000000000000000000000000000d0033cbf9e407fc62faf76000040"],
}


def questions(anew: bool) -> Iterator[tuple[str, Question]]:
    """Every call, with the target that it is of."""
    if FILE.exists() and not anew:
        for vector in json.loads(FILE.read_text())["vectors"]:
            yield vector["about"].split(":")[0], (vector["call"], vector["args"])
    for name, inputs in FOUND.items():
        for text in inputs:
            yield from ((name, question) for question in around(TARGETS[name].question, bytes.fromhex(text)))
    for question in others():
        if question[0] in READERS:
            yield READERS[question[0]], question
    for name, target in TARGETS.items():
        for path in sorted((CORPUS / name).glob("*")) if target.question else ():
            found = target.question(path.read_bytes()) if target.question else None
            if found:
                yield name, found


def around(ask: Callable[[bytes], Question | None] | None, data: bytes) -> Iterator[Question]:
    """The call of an input, and where it reads a body the calls that write and read what was read."""
    question = ask(data) if ask else None
    if not question:
        return
    yield question
    call, args = question
    read = calls.call(call, args).get("result")
    if call == "decode appended" and read:
        kind, appended, _, old, lag, _ = args
        yield (write := ("encode appended", [kind, appended, read, old, lag]))
        yield call, [kind, appended, calls.call(*write)["result"], old, lag, False]


def others() -> Iterator[Question]:
    """The calls of the other vectors: what they go through need not be gone through again."""
    for path in FILE.parent.glob("*.json"):
        if path != FILE:
            for vector in json.loads(path.read_text()).get("vectors", []):
                yield vector["call"], vector["args"]


def way(question: Question) -> tuple[dict[str, Any], set[Any]]:
    """The answer, and the steps from one line to the next that the wire's code takes to it."""
    steps: set[Any] = set()

    def local(frame: FrameType, event: str, argument: object) -> Any:
        key = WATCHED[frame.f_code.co_filename]
        steps.add((key, last.get(frame), frame.f_lineno))
        last[frame] = frame.f_lineno
        return local

    def enter(frame: FrameType, event: str, argument: object) -> Any:
        return local if frame.f_code.co_filename in WATCHED else None

    last: dict[FrameType, int] = {}
    sys.settrace(enter)
    try:
        answer = calls.call(*question)
    finally:
        sys.settrace(None)
    return answer, steps


def group(name: str, question: Question, answer: dict[str, Any]) -> tuple[Any, ...]:
    """What one vector at least is kept of: a target's reasons, and of bodies those of each kind, whole or differential."""
    call, args = question
    outcome = answer.get("refused", "")
    if call in ("encode", "decode"):
        return name, call, args[0] if args[0] in schema.TABLE else None, args[2] is not None, outcome
    if call in ("encode appended", "decode appended"):
        return name, call, args[3] is not None, bool(args[1]), call[0] == "d" and args[5], outcome
    if call == "deframe" and "result" in answer:
        return (name, call, *sorted(answer["result"][1]))
    return name, call, args[0] if call == "uncore" else "", outcome


def main() -> int:
    every: dict[str, tuple[str, Question]] = {}
    for name, question in questions("--anew" in sys.argv):
        every.setdefault(json.dumps(question), (name, question))
    node = Worker(
        Path(__file__).parent / "worker.py",
        path=(PROTOCOL, ROOT / "host" / "felinar", Path(__file__).parent),
        heap="8M",
    )
    kept = {
        json.dumps(question)
        for name, inputs in FOUND.items()
        for text in inputs
        for question in around(TARGETS[name].question, bytes.fromhex(text))
    }
    known = {step for question in others() for step in way(question)[1]}
    vectors: dict[str, list[dict[str, Any]]] = {name: [] for name in TARGETS}
    differ = 0
    for text in sorted(every, key=lambda text: (len(text), text)):
        name, question = every[text]
        answer, steps = way(question)
        (there,) = node.ask([[*question]])
        if there != answer:
            differ += 1
            print(f"the interpreters differ on {text}: {answer} and {there}")
        steps.add(group(name, question, answer))
        if text in kept or not steps <= known:
            known |= steps
            outcome = f"refused as {answer['refused']}" if "refused" in answer else "understood"
            outcome += ", a fault once" * (text in kept)
            vectors[name].append({"about": f"{name}: {outcome}", "call": question[0], "args": question[1], **answer})
    node.close()
    chosen = [vector for of_target in vectors.values() for vector in of_target]
    print(f"{len(every)} calls, {differ} differ, {len(chosen)} chosen")
    if differ:
        return 1
    header = {
        "covers": "What searches guided by coverage came upon: the shortest inputs for each way through the decoders' code.",
        "schema_version": schema.VERSION,
        "how": "args of a call and its result, or the reason why it is refused; bytes are hex; docs/protocol.md explains",
    }
    rows = ",\n  ".join(json.dumps(vector) for vector in chosen)
    FILE.write_text(json.dumps(header, indent=1)[:-2] + ',\n "vectors": [\n  ' + rows + "\n ]\n}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
