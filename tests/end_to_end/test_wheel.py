"""What a new user has: the wheel alone, in an empty folder. It flashes a virtual board with all that it brings along."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the wheel was installed; what it depends on is that of the test's interpreter."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    subprocess.run((*pip, "wheel", "--no-deps", "--wheel-dir", str(folder), str(ROOT)), check=True, timeout=180)
    (wheel,) = folder.glob("felinar-*.whl")
    target = folder / "site"
    subprocess.run((*pip, "install", "--no-deps", "--target", str(target), str(wheel)), check=True, timeout=120)
    return target


@pytest.fixture
def run(installed: Path, tmp_path: Path) -> tuple[dict[str, str], Path]:
    """(environment, empty folder) of a user with that wheel."""
    empty = tmp_path / "empty"
    empty.mkdir()
    where = {"PYTHONPATH": str(installed), "XDG_CACHE_HOME": str(tmp_path / "cache"), "HOME": str(tmp_path)}
    return {**os.environ, **where}, empty


def test_everything_that_flashing_needs_is_in_the_wheel(run: tuple[dict[str, str], Path], installed: Path) -> None:
    env, empty = run
    board = subprocess.Popen(
        (sys.executable, "-P", "-m", "felinar_sim", "board", "--port", "0", "--json"),
        cwd=empty, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert board.stdout is not None
        url = json.loads(board.stdout.readline())["url"]
        order = ("flash", "--board", "sim", "--port", url, "--data-dir", "data", "--no-test", "--json")
        done = subprocess.run(
            (sys.executable, "-P", "-m", "felinar", *order),
            cwd=empty, env=env, capture_output=True, text=True, timeout=200, check=False,
        )  # fmt: skip
        last = json.loads(done.stdout.splitlines()[-1])
        assert (done.returncode, last["event"]) == (0, "done"), (last, done.stderr)
        code = "import felinar, felinar_build.modules as m; print(felinar.__file__, m.ROOT)"
        told = subprocess.run(
            (sys.executable, "-P", "-c", code), cwd=empty, env=env, capture_output=True, text=True, check=True
        )
        assert all(path.startswith(str(installed)) for path in told.stdout.split())
    finally:
        board.communicate("quit\n", timeout=30)
    assert {path.name for path in empty.iterdir()} == {"data"}
