"""One protocol, two interpreters: golden vectors under both, and random messages whose bytes are compared."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from felinar_wire import serial
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.protocol import calls, messages, vectors
from tests.support.micropython import PROTOCOL, ROOT, Worker, run

HERE = Path(__file__).parent
PATH = (PROTOCOL, ROOT / "host" / "felinar", HERE)
FILES = [
    ROOT / "tests" / "vectors" / f"{name}.json"
    for name in ("messages", "forms", "frames", "core", "serial", "scale", "fuzz")
]
MANY = settings(
    max_examples=130, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
SEED = st.integers(0, 1 << 48)


@pytest.fixture(scope="module")
def node() -> Iterator[Worker]:
    worker = Worker(HERE / "worker.py", path=PATH, heap="8M")
    yield worker
    worker.close()


def agree(node: Worker, questions: list[list[Any]]) -> list[dict[str, Any]]:
    """Ask both interpreters the same; the answers, which must be equal and no bug."""
    here = [calls.call(name, args) for name, args in questions]
    there = node.ask(questions)
    for question, mine, its in zip(questions, here, there, strict=True):
        assert its == mine, f"CPython and MicroPython differ on {question}"
    return here


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_vectors_under_cpython(file: Path) -> None:
    assert vectors.check(str(file), calls.call) == []


def test_vectors_under_micropython() -> None:
    names = [str(file) for file in FILES]
    script = (
        f"import calls, vectors\nfor name in {names!r}:\n    for fault in vectors.check(name, calls.call): print(fault)"
    )
    assert run(script, path=PATH, heap="8M") == ""


@given(SEED)
@MANY
def test_messages(node: Worker, seed: int) -> None:
    """130 examples of 80 messages: each written under both, each body read back under both."""
    rng = random.Random(seed)
    questions: list[list[Any]] = []
    for _ in range(40):
        kind = rng.choice([messages.schema.REPORT, *messages.KINDS])
        values = messages.values(rng, kind)
        questions.append(["encode", [kind, values, None, 0]])
        old = messages.values(rng, messages.schema.REPORT)
        new = messages.later(rng, messages.schema.REPORT, old)
        held = messages.seen(messages.schema.REPORT, old)
        questions.append(["encode", [messages.schema.REPORT, new, held, rng.choice([1, 1, 2, 3, 4, 15])]])
    answers = agree(node, questions)
    reading = []
    for (_, (kind, _, old, lag)), answer in zip(questions, answers, strict=True):
        reading.append(["decode", [kind, answer["result"], old, lag]])
    for (_, (kind, values, _, _)), answer in zip(questions, agree(node, reading), strict=True):
        assert answer == {"result": messages.seen(kind, values)}


@given(SEED)
@settings(MANY, max_examples=40)
def test_batches(node: Worker, seed: int) -> None:
    rng = random.Random(seed)
    rows = [messages.rows(rng, rng.choice([1, 2, 4, 12, 30])) for _ in range(4)]
    answers = agree(node, [["batch", [[list(row) for row in batch]]] for batch in rows])
    found = agree(node, [["unbatch", [a["result"], b[0][0]]] for a, b in zip(answers, rows, strict=True)])
    for batch, answer in zip(rows, found, strict=True):
        assert answer["result"] == [[seq, messages.seen(messages.schema.REPORT, values)] for seq, values in batch]


@given(SEED)
@settings(MANY, max_examples=40)
def test_frozen_messages(node: Worker, seed: int) -> None:
    """Messages of whole bytes come back as they were; other bytes are read, or refused, alike."""
    rng = random.Random(seed)
    layouts = rng.choices(messages.LAYOUTS, k=20)
    given = [messages.frozen(rng, layout) for layout in layouts]
    written = agree(node, [["core", list(pair)] for pair in zip(layouts, given, strict=True)])
    read = agree(node, [["uncore", [layout, a["result"]]] for layout, a in zip(layouts, written, strict=True)])
    assert [answer["result"] for answer in read] == given
    agree(node, [["uncore", [layout, rng.randbytes(rng.randrange(40)).hex()]] for layout in layouts])


@given(SEED)
@settings(MANY, max_examples=60)
def test_damaged_and_random_bytes(node: Worker, seed: int) -> None:
    """Both refuse the same bytes for the same reason, and understand the others alike."""
    rng = random.Random(seed)
    questions: list[list[Any]] = []
    for _ in range(25):
        kind = rng.choice([messages.schema.REPORT, *messages.KINDS])
        body = bytearray(calls.codec.encode(kind, messages.values(rng, kind)))
        if rng.random() < 0.5:
            body[rng.randrange(len(body))] ^= 1 << rng.randrange(8)
        else:
            body = bytearray(rng.randbytes(rng.randrange(45)))
        old = rng.choice([None, messages.seen(kind, messages.values(rng, kind))])
        questions.append(["decode", [kind, body.hex(), old, rng.randrange(1, 16)]])
        questions.append(["unbatch", [rng.randbytes(rng.randrange(60)).hex(), rng.randrange(1 << 20)]])
        questions.append(["unpack", [rng.randbytes(rng.choice([0, 4, 5, 9, 255, 256])).hex(), rng.randrange(3)]])
        questions.append(["unkeep", [rng.randbytes(rng.randrange(10)).hex(), rng.randrange(3), rng.randrange(1 << 30)]])
    agree(node, questions)


@given(SEED)
@settings(MANY, max_examples=60)
def test_frames_and_lines(node: Worker, seed: int) -> None:
    rng = random.Random(seed)
    questions: list[list[Any]] = []
    for _ in range(10):
        data = rng.choice([rng.randbytes(rng.randrange(300)), bytes(rng.randrange(600)), b"\1" * rng.randrange(600)])
        head = [rng.randrange(64), rng.randrange(65536), rng.randrange(1 << 32), data.hex(), rng.randrange(4)]
        name = [
            rng.randrange(3),
            rng.randrange(1 << 30),
            rng.randrange(3),
            "ab",
            rng.randrange(1 << 30),
            rng.randrange(17),
        ]
        questions += [["pack", head], ["keep", name], ["line", [data.hex()]]]
        stream = bytearray(b"".join(serial.encode(rng.randbytes(rng.randrange(70))) for _ in range(6)))
        for _ in range(rng.randrange(4)):
            stream[rng.randrange(len(stream))] = rng.randrange(256)
        chunks = [bytes(stream[i : i + 37]).hex() for i in range(0, len(stream), 37)]
        questions.append(["deframe", [60, chunks]])
        questions.append(["lux_step", [rng.randrange(1 << rng.randrange(1, 29))]])
        questions.append(
            ["number", [rng.randrange(1 << rng.randrange(1, 12)), rng.choice([*range(13), 22, 27, 31]), 4095]]
        )
    agree(node, questions)


def test_checksums(node: Worker) -> None:
    agree(node, [["crc", [kind]] for kind in [*messages.KINDS, messages.schema.BATCH]])


def test_every_step_of_light(node: Worker) -> None:
    light = agree(node, [["millilux", [step]] for step in range(1301)])
    agree(node, [["lux_step", [answer["result"]]] for answer in light])
