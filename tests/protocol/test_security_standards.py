"""RFC 4493, RFC 3610, SP 800-38C, RFC 4231 and RFC 8554 appendix F, on both interpreters."""

from __future__ import annotations

import json
import subprocess

import pytest
from felinar_wire import lms

from tests.protocol import security_standards_run
from tests.support.micropython import PROTOCOL, ROOT, environment, interpreter

VECTORS = ROOT / "tests" / "vectors" / "security_standards.json"
RUN = security_standards_run.__file__


def test_cpython() -> None:
    passed = security_standards_run.check(json.loads(VECTORS.read_text()))
    assert len(passed) == 4 + 28 + 7 + 2


def test_micropython() -> None:
    done = subprocess.run(
        [interpreter(), "-X", "heapsize=2M", RUN, str(VECTORS)],
        env=environment((PROTOCOL,)),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(json.loads(done.stdout)) == 4 + 28 + 7 + 2


@pytest.mark.parametrize("length", [0, 1, 3, 4, 8, 59, 60, 61, 1291, 1292, 2000])
def test_lms_takes_any_bytes(length: int) -> None:
    vector = json.loads(VECTORS.read_text())["hss"][0]
    public, signature = bytes.fromhex(vector["public"]), bytes.fromhex(vector["signature"])
    assert not lms.verify(public[:length] if length < 60 else public, b"m", signature[:length])
    assert not lms.verify(bytes(length), b"m", bytes(length))
    assert not lms.verify(b"\xff" * length, b"m", b"\xff" * length)
