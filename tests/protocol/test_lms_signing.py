"""Signing updates: each leaf once, spent on disk first; a copied key refuses."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyhsslms
import pytest
from felinar.keys import KeyStoreError, UpdateSigner
from felinar_wire import lms

from tests.support.micropython import run

SECRET = bytes(range(32))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    UpdateSigner.create(tmp_path / "key", SECRET, height=5)
    return tmp_path / "key"


def leaf(signature: bytes) -> int:
    return int.from_bytes(signature[4:8], "big")


def test_signatures_verify_everywhere(folder: Path) -> None:
    signer = UpdateSigner(folder, SECRET)
    message = b"felinar 1.2.3"
    signature = signer.sign(message)
    assert len(signature) == 4 + 1292
    assert lms.verify(signer.public, message, signature)
    assert pyhsslms.HssPublicKey.deserialize(signer.public).verify(message, signature)
    assert not lms.verify(signer.public, message + b" ", signature)
    out = run(
        "from felinar_wire import lms\n"
        f"p, m, s = {signer.public!r}, {message!r}, {signature!r}\n"
        "print(lms.verify(p, m, s), lms.verify(p, m + b' ', s), lms.verify(p, m, s[:-1] + b'x'))"
    )
    assert out.split() == ["True", "False", "False"]


def test_every_leaf_once_and_then_no_more(folder: Path) -> None:
    leaves = []
    for i in range(32):
        signer = UpdateSigner(folder, SECRET)
        assert signer.remaining == 32 - i
        leaves.append(leaf(signer.sign(b"the same message")))
    assert leaves == list(range(32))
    with pytest.raises(KeyStoreError, match="no signature left"):
        UpdateSigner(folder, SECRET).sign(b"")


def test_the_leaf_is_on_disk_before_the_signature_is_made(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    signer = UpdateSigner(folder, SECRET)
    order = []
    fsync, sign = os.fsync, pyhsslms.LmotsPrivateKey.sign

    def watched_fsync(file: int) -> None:
        fsync(file)
        order.append(os.readlink(f"/proc/self/fd/{file}").rsplit("/", 1)[-1])

    def watched_sign(self: object, message: bytes) -> bytes:
        order.append("sign")
        return sign(self, message)  # type: ignore[no-any-return]

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(pyhsslms.LmotsPrivateKey, "sign", watched_sign)
    signer.sign(b"m")
    assert order == ["leaf.new", folder.name, "seen", "sign"]


@pytest.mark.parametrize("fails_at", [1, 2, 3])
def test_a_disk_that_fails_costs_a_leaf_at_most(folder: Path, monkeypatch: pytest.MonkeyPatch, fails_at: int) -> None:
    signer = UpdateSigner(folder, SECRET)
    used = {leaf(signer.sign(b"m"))}
    calls = []

    def failing(file: int) -> None:
        calls.append(file)
        if len(calls) == fails_at:
            raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing)
        with pytest.raises(KeyStoreError, match="Input/output error"):
            signer.sign(b"m")
    for _ in range(3):
        number = leaf(UpdateSigner(folder, SECRET).sign(b"n"))
        assert number not in used
        used.add(number)


def test_a_torn_write_leaves_the_other_record(folder: Path) -> None:
    signer = UpdateSigner(folder, SECRET)
    assert [leaf(signer.sign(b"m")) for _ in range(3)] == [0, 1, 2]
    # The next write goes to the place of record 2 (leaf 4 is even): torn in the middle, record 3 remains.
    with (folder / "leaf").open("r+b") as file:
        file.write(b"\xff" * 7)
    with pytest.raises(KeyStoreError, match="copied or restored"):  # changed, and not by a signature
        UpdateSigner(folder, SECRET)


def test_killed_at_any_moment_no_leaf_is_used_twice(folder: Path) -> None:
    script = (
        "import sys\nfrom pathlib import Path\nfrom felinar.keys import UpdateSigner\n"
        f"s = UpdateSigner(Path({str(folder)!r}), bytes(range(32)))\n"
        "while True:\n    sys.stdout.write(s.sign(b'm')[4:8].hex() + '\\n'); sys.stdout.flush()\n"
    )
    used: list[int] = []
    for lines in (1, 2, 3, 4):
        process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
        assert process.stdout
        for _ in range(lines):
            if line := process.stdout.readline():
                used.append(int(line, 16))
        process.kill()
        used += [int(line, 16) for line in process.stdout.read().split() if len(line) == 8]
        process.wait()
        process.stdout.close()
        if not UpdateSigner(folder, SECRET).remaining:
            break  # it signs ahead of the reader: on a busy machine the small key is soon used up
    assert len(used) >= 10
    assert len(set(used)) == len(used)
    if UpdateSigner(folder, SECRET).remaining:
        assert leaf(UpdateSigner(folder, SECRET).sign(b"m")) not in used


@pytest.mark.parametrize("how", ["folder", "leaf", "leaf in place", "leaf and seen", "leaf and seen in place"])
@pytest.mark.parametrize("signed", [0, 1, 3])
def test_a_copy_refuses_to_sign(folder: Path, tmp_path: Path, how: str, signed: int) -> None:
    copy = tmp_path / "copy"
    signer = UpdateSigner(folder, SECRET)
    signer.sign(b"m")
    shutil.copytree(folder, copy)
    for _ in range(signed):
        signer.sign(b"m")
    if how == "folder":
        shutil.rmtree(folder)
        shutil.copytree(copy, folder)
    else:
        for name in ("leaf", "seen") if "seen" in how else ("leaf",):
            if "place" in how:
                (folder / name).write_bytes((copy / name).read_bytes())
            else:
                (folder / name).unlink()
                shutil.copy2(copy / name, folder / name)
    with pytest.raises(KeyStoreError, match="copied or restored"):
        UpdateSigner(folder, SECRET)
    with pytest.raises(KeyStoreError, match="copied or restored"):
        signer.sign(b"m")


def test_a_renamed_folder_signs_on(folder: Path, tmp_path: Path) -> None:
    folder.rename(tmp_path / "elsewhere")
    assert leaf(UpdateSigner(tmp_path / "elsewhere", SECRET).sign(b"m")) == 0


def test_files(folder: Path) -> None:
    assert (folder / "CACHEDIR.TAG").read_bytes().startswith(b"Signature: 8a477f597d28d172789f06886806bc55")
    for file in folder.iterdir():
        assert file.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    with pytest.raises(KeyStoreError, match="can't be made"):
        UpdateSigner.create(folder, SECRET, height=5)
    with pytest.raises(KeyStoreError, match="does not open"):
        UpdateSigner(folder, bytes(32))
    (folder / "key").chmod(0o644)
    with pytest.raises(KeyStoreError, match="mode 0644"):
        UpdateSigner(folder, SECRET)
    with pytest.raises(KeyStoreError, match="can't be read"):
        UpdateSigner(folder.parent / "nowhere", SECRET)


def test_there_is_no_way_out_for_the_key(folder: Path) -> None:
    public = [name for name in dir(UpdateSigner) if not name.startswith("_")]
    assert public == ["create", "public", "remaining", "sign"]
