"""Where MicroPython comes from: the cache, a download from a server of the test's own, and its recorded hash."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from felinar.errors import ConfigError, FelinarError
from felinar.flash import firmware as firmwares
from felinar.flash import image as images
from felinar.flash.catalogue import CATALOGUE, FlashError, table, told
from felinar.keys.interface import KeyStoreError
from felinar.provision.errors import ProvisionError

from tests.host.flash_boards import firmware_file

ROOT = Path(__file__).resolve().parents[2]
NAME = f"ESP32_GENERIC-{firmwares.RELEASE}.bin"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[str, dict[str, bytes], list[str]]]:
    """(its address, the files that it has, what was asked for)"""
    files: dict[str, bytes] = {}
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            data = files.get(self.path.rpartition("/")[2])
            self.send_response(200 if data is not None else 404)
            self.end_headers()
            self.wfile.write(data or b"")

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/firmware", files, asked
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_download_is_recorded_told_and_not_repeated(
    site: tuple[str, dict[str, bytes], list[str]], tmp_path: Path
) -> None:
    address, files, asked = site
    files[NAME] = firmware_file(tmp_path).read_bytes()
    digest = hashlib.sha256(files[NAME]).hexdigest()
    cache = firmwares.Cache(tmp_path / "cache")
    told: list[str] = []
    path = cache.find(images.board("devkitc_rfm95"), told.append, site=address)
    assert firmwares.load(path).sha256 == digest
    assert json.loads((tmp_path / "cache" / "sha256.json").read_text()) == {NAME: digest}
    assert digest in told[-1]
    assert cache.find(images.board("devkitc_rfm95"), told.append, site=address) == path
    assert asked == [f"/firmware/{NAME}"]
    assert len(told) == 2

    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(FlashError) as error:
        cache.find(images.board("devkitc_rfm95"), told.append, site=address)
    assert error.value.code == "firmware-changed"
    path.unlink()
    files[NAME] += b"another"  # the first one counts
    with pytest.raises(FlashError) as error:
        cache.find(images.board("devkitc_rfm95"), told.append, site=address)
    assert error.value.code == "firmware-changed"


def test_what_can_not_be_had_is_told(site: tuple[str, dict[str, bytes], list[str]], tmp_path: Path) -> None:
    for address in (site[0], "http://127.0.0.1:9/none"):
        with pytest.raises(FlashError) as error:
            firmwares.Cache(tmp_path / "cache").find(images.board("devkitc_rfm95"), lambda _: None, site=address)
        assert error.value.code == "firmware-missing"
    assert not (tmp_path / "cache" / "sha256.json").exists()


def test_a_virtual_board_needs_no_download(tmp_path: Path) -> None:
    told: list[str] = []
    cache = firmwares.Cache(tmp_path / "cache")
    for name in ("sim", "sim_radio"):
        path = cache.find(images.board(name), told.append, site="http://127.0.0.1:9")
        assert firmwares.load(path).chip == "esp32"
    assert told == []
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["virtual-esp32-4.bin"]


def test_each_board_has_its_build() -> None:
    wanted = {"sim": "ESP32_GENERIC", "heltec_v3": "ESP32_GENERIC_S3", "rak3312": "ESP32_GENERIC_S3-SPIRAM_OCT",
              "lilygo_tbeam_sx1262": "ESP32_GENERIC-SPIRAM", "lilygo_t3_s3": "ESP32_GENERIC_S3"}  # fmt: skip
    assert {board: firmwares.variant(images.board(board)) for board in wanted} == wanted


def test_the_catalogue_is_all_that_is_raised_and_all_of_it_can_be() -> None:
    source = "".join(
        path.read_text()
        for part in ("flash", "provision")
        for path in (ROOT / "host" / "felinar" / part).glob("*.py")
        if path.name != "catalogue.py"
    )
    unused = [code for code in CATALOGUE if f'"{code}"' not in source]
    assert unused == []
    for code, entry in CATALOGUE.items():
        error = FlashError(code)
        assert error.json() == {"code": code, "error": entry.cause, "cause": entry.cause, "action": entry.action}
        assert error.exit_status
        assert entry.cause.endswith(".")
        assert entry.action.endswith(".")
    with pytest.raises(KeyError):
        FlashError("no such code")
    assert set(re.findall(r'code="([^"]+)"', source)) <= set(CATALOGUE)


def test_every_failure_is_told_with_an_entry() -> None:
    given = {
        "given": ProvisionError("The pole is taken.", code="given"),
        "key-store": KeyStoreError("The key store is locked."),
        "config": ConfigError("The file is no JSON."),
        "internal": FelinarError("Nobody knows."),
        "silent": FlashError("silent"),
    }
    for code, error in given.items():
        found = told(error)
        assert found == {
            "code": code,
            "error": error.sentence,
            "cause": CATALOGUE[code].cause,
            "action": found["action"],
        }
        assert found["action"]


def test_the_manual_has_the_catalogue() -> None:
    assert table() in (ROOT / "docs" / "technician.md").read_text()
