"""What a board carries: the modules that its node loads and no others, their sizes, and the manifest that freezes the same."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from felinar_build import app, board, manifest, modules

BOARDS = app.ROOT / "boards"
SIM = BOARDS / "sim" / "board.toml"


def places(path: Path = SIM) -> set[str]:
    return {place for _, place in app.sources(board.load(path))}


def cli(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "felinar_build", *arguments], capture_output=True, text=True, check=False, cwd=app.ROOT
    )


# Which modules


def test_the_application_holds_only_what_the_board_needs(tmp_path: Path) -> None:
    out = tmp_path / "app"
    written = app.build(SIM, out, mpy=True)
    found = {str(path.relative_to(out)) for path in written}
    fitted = {f"drivers/{part.driver}.mpy" for part in board.load(SIM).fitted}
    assert {
        "main.py",
        "board.json",
        "drivers/__init__.mpy",
        "drivers/relay.mpy",
        "drivers/sensirion.mpy",
        "node/app.mpy",
        "node/sound.mpy",
        "felinar_wire/codec.mpy",
    } | fitted <= found
    assert not found & {"drivers/veml7700.mpy", "drivers/frames.mpy", "felinar_wire/core.mpy", "felinar_wire/batch.mpy"}
    assert all(path.read_bytes()[:1] == b"M" for path in written if path.suffix == ".mpy")


def test_what_is_for_hosts_alone_stays_at_home() -> None:
    on_a_host = {path.stem for path in (app.ROOT / "protocol" / "felinar_wire").glob("_*_host.py")}
    assert {"_aes_host", "_kept_host"} <= on_a_host
    assert not {Path(place).stem for place in places()} & {*on_a_host, "hmac"}


def test_sealing_and_updates_are_counted_though_nothing_imports_them_yet() -> None:
    assert {f"felinar_wire/{name}.py" for name in modules.LAMP_WIRE_EXTRA} <= places()


def test_a_driver_brings_what_it_is_made_of(tmp_path: Path) -> None:
    text = SIM.read_text()
    path = tmp_path / "board.toml"
    path.write_text(text.replace('driver = "sht4x"\nbus = "i2c0"\naddress = 0x44', 'driver = "sgp41"\nbus = "i2c0"'))
    assert {"drivers/sgp41.py", "drivers/gas_index.py", "drivers/sensirion.py"} <= places(path)
    assert "drivers/sht4x.py" not in places(path)
    path.write_text(text.replace('driver = "bl0937"', 'driver = "hlw8012"'))
    assert {"drivers/hlw8012.py", "drivers/bl0937.py"} <= places(path)
    path.write_text(text.replace('driver = "bl0937"', 'driver = "watt9000"'))
    with pytest.raises(app.BuildError, match="there is no driver called watt9000"):
        places(path)


def imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **sources: str) -> list[str]:
    """The closure of `main` in a world of these modules, a dot in a name written as __."""
    for name, text in sources.items():
        path = tmp_path / (name.replace("__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for folder in tmp_path.iterdir():
        if folder.is_dir():
            (folder / "__init__.py").touch()
    monkeypatch.setattr(modules, "FOLDERS", (tmp_path,))
    return modules.closure(["main"])


def test_imports_are_followed_wherever_they_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = imported(
        tmp_path,
        monkeypatch,
        main="import machine\ntry:\n    from node import app\nexcept BaseException:\n    pass\n",
        node__app="def f():\n    from node.deep import thing\n    __import__('node.named')\n    __import__('node.' + str(1))\n",
        node__deep="from . import near\nfrom .near2 import x\nimport node.far as far\n",
        node__near="",
        node__near2="from felinar_wire import kept, WireError\n",
        node__far="",
        node__named="",
        node__unused="import node.far\n",
        felinar_wire__kept="try:\n    from felinar_wire._kept_host import unpack\nexcept ImportError:\n    pass\n",
        felinar_wire___kept_host="",
    )
    assert found == [
        "felinar_wire", "felinar_wire.kept", "main", "node", "node.app", "node.deep", "node.far", "node.named", "node.near",
        "node.near2",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "from felinar_wire import _aes_host\n",
        "import felinar_wire._aes_host\n",
        "try:\n    import felinar_wire._aes_host\nexcept ValueError:\n    pass\n",
    ],
)
def test_a_node_cannot_want_what_hosts_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    with pytest.raises(
        modules.ImportFault, match=r"main\.py imports felinar_wire\._aes_host, which is for hosts alone"
    ):
        imported(tmp_path, monkeypatch, main=text, felinar_wire___aes_host="")


def test_nothing_but_drivers_is_loaded_by_a_name_made_at_run_time() -> None:
    # What such a call loads cannot be followed: the board file names the drivers, and nothing else may be loaded so.
    found = [
        place
        for source, place in app.sources(board.load(SIM))
        for node in ast.walk(ast.parse(source.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "__import__"
        if not isinstance(node.args[0], ast.Constant)
    ]
    assert found == ["node/sampler.py"]
    assert '"drivers." + ' in (app.ROOT / "firmware" / "node" / "sampler.py").read_text()


# Sizes


def test_sizes_are_those_of_what_is_written(tmp_path: Path) -> None:
    out = tmp_path / "app"
    app.build(SIM, out, mpy=True, arch="xtensawin")
    sizes = app.sizes("sim", "xtensawin")
    assert set(sizes) == places()
    for place, size in sizes.items():
        if place != "main.py":
            assert (out / place).with_suffix(".mpy").stat().st_size == size
    assert sizes["main.py"] > 0


def test_a_source_that_does_not_compile_is_named(tmp_path: Path) -> None:
    source = tmp_path / "module.py"
    source.write_text("def f(:\n")
    with pytest.raises(app.BuildError, match=r"module\.py does not compile for xtensawin: SyntaxError"):
        app.compile_file(source, tmp_path / "module.mpy", "xtensawin", "node/module.py")


# The manifest


class Options:
    """What a manifest sees as `options`."""

    def __init__(self, given: dict[str, str]) -> None:
        self._given = given
        self._defaults: dict[str, str] = {}

    def defaults(self, **values: str) -> None:
        self._defaults = values

    def __getattr__(self, name: str) -> str | None:
        return self._given.get(name, self._defaults.get(name))


def frozen(**given: str) -> dict[str, int]:
    """Runs firmware/manifest.py as MicroPython's build does: places on the node and their optimisation."""
    found: dict[str, int] = {}

    def add(path: Path, place: str, opt: int) -> None:
        assert path.is_file(), path
        found[place] = opt

    def module(name: str, base_path: str = ".", opt: int | None = None) -> None:
        assert opt is not None
        add(manifest.TARGET.parent / base_path / name, name, opt)

    def package(name: str, files: Any = None, base_path: str = ".", opt: int | None = None) -> None:
        assert opt is not None
        for file in files:
            add(manifest.TARGET.parent / base_path / name / file, f"{name}/{file}", opt)

    exec(manifest.TARGET.read_text(), {"options": Options(given), "module": module, "package": package})
    return found


def test_the_manifest_freezes_what_the_application_folder_holds() -> None:
    found = frozen()
    assert set(found) == places(), "firmware/manifest.py is not up to date: run `python -m felinar_build manifest`"
    assert set(found.values()) == {2}, "frozen code lies in flash, where line numbers cost no heap"


@pytest.mark.parametrize("name", ["heltec_v3", "xiao_s3_wio"])
def test_the_manifest_follows_what_a_board_has_fitted(name: str) -> None:
    path = BOARDS / name / "board.toml"
    assert set(frozen(drivers=" ".join(part.driver for part in board.load(path).fitted))) == places(path)


def test_the_manifest_knows_every_driver(tmp_path: Path) -> None:
    text = SIM.read_text()
    path = tmp_path / "board.toml"
    for driver in ("veml7700", "pms7003", "sds011", "sgp41", "bme280", "inmp441", "hlw8012"):
        path.write_text(text + f'\n[[fitted]]\ndriver = "{driver}"\n')
        fitted = [part.driver for part in board.load(path).fitted]
        assert set(frozen(drivers=" ".join(fitted))) == places(path)


# The command line


def test_the_command_line_ends_in_one_sentence() -> None:
    done = cli("app", "--board", "nonesuch")
    assert done.returncode == 1
    assert done.stderr.startswith("error: there is no board called 'nonesuch'")
    assert "Traceback" not in done.stderr


def test_sizes_as_json_add_up() -> None:
    done = cli("sizes", "--board", "sim", "--arch", "xtensawin", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["bytes"] == sum(found["modules"].values()) == sum(found["parts"].values())
    wire = sum(size for place, size in found["modules"].items() if place.startswith("felinar_wire/"))
    assert found["parts"]["felinar_wire"] == wire


def test_generated_files_are_checked_and_a_stale_one_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from felinar_build import __main__ as commands

    monkeypatch.setattr(app, "ROOT", tmp_path)
    path = tmp_path / "page.md"
    with pytest.raises(app.BuildError, match=r"page\.md is not up to date: run `make it`"):
        commands._write(path, "new\n", True, "make it")
    commands._write(path, "new\n", False, "make it")
    commands._write(path, "new\n", True, "make it")
    path.write_text("old\n")
    with pytest.raises(app.BuildError, match=r"page\.md is not up to date"):
        commands._write(path, "new\n", True, "make it")
    assert path.read_text() == "old\n"


# Roles


def test_a_bridge_carries_its_radio_and_neither_keys_nor_sensors(tmp_path: Path) -> None:
    out = tmp_path / "bridge"
    written = app.build(BOARDS / "heltec_v3" / "board.toml", out, mpy=True, role="bridge")
    places = {str(path.relative_to(out)) for path in written}
    assert {"main.py", "felinar_air/modem.mpy", "drivers/sx126x.mpy", "board.json"} <= places
    assert "bridge" in (out / "main.py").read_text()
    assert not {place for place in places if re.search(r"aes|session|tesla/key|sps30|outbox|lamp|uplink", place)}
    with pytest.raises(app.BuildError, match="no radio"):
        list(app.sources(board.load(SIM), "bridge"))
    with pytest.raises(app.BuildError, match="there is no role mast"):
        list(app.sources(board.load(SIM), "mast"))
