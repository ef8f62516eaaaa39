"""Configuration: everything has a default, every mistake one sentence that names its place."""

from __future__ import annotations

from pathlib import Path

import pytest
from felinar.config import Config, LinkConfig, listen_address, load, parse
from felinar.durations import ago, moment, seconds
from felinar.errors import ConfigError

WHOLE = """
data_dir = "/var/lib/felinar"
[control]
listen = "127.0.0.1:8470"
[log]
format = "json"
level = "debug"
[[link]]
url = "/dev/ttyUSB0"
baud = 460800
[[link]]
url = "socket://bridge:4000"
[nodes.1]
name = "Strada Unirii 1"
lamp_w = 60
[nodes.7]
"""


def test_a_whole_file() -> None:
    config = parse(WHOLE, "felinar.toml")
    assert config.directory == Path("/var/lib/felinar")
    assert config.run == Path("/var/lib/felinar/run")
    assert config.link == (LinkConfig("/dev/ttyUSB0", 460800), LinkConfig("socket://bridge:4000", 115200))
    assert config.nodes[1].name == "Strada Unirii 1"
    assert config.nodes[1].lamp_w == 60
    assert config.nodes[7].name is None


def test_nothing_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert load(None) == Config()
    assert load(None).directory == tmp_path / "data" / "felinar"
    (tmp_path / "felinar").mkdir()
    (tmp_path / "felinar" / "felinar.toml").write_text('data_dir = "/srv/felinar"')
    assert load(None).directory == Path("/srv/felinar"), "the file in the usual place is read"


def test_the_command_line_goes_before_the_file(tmp_path: Path) -> None:
    file = tmp_path / "f.toml"
    file.write_text('[[link]]\nurl = "/dev/a"\nbaud = 9600\n[[link]]\nurl = "/dev/b"')
    config = load(file, ports=("/dev/c", "/dev/a"), data_dir=tmp_path / "d", baud=19200)
    assert [(link.url, link.baud) for link in config.link] == [("/dev/c", 19200), ("/dev/a", 19200), ("/dev/b", 115200)]
    assert config.directory == tmp_path / "d"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("data_dir = ", "not valid TOML"),
        ("dat_dir = 'x'", "unknown key 'dat_dir'. Did you mean 'data_dir'"),
        ("[contrl]\nlisten='unix'", "unknown key 'contrl'. Did you mean 'control'"),
        ("[control]\nlisen = 'unix'", "unknown key 'control.lisen'. Did you mean 'listen'"),
        ("[[link]]\nurl='/dev/a'\nspeed=9600", r"unknown key 'link\[0\].speed'. Known here: baud, url"),
        ("[nodes.1]\nnmae='x'", "unknown key 'nodes.1.nmae'. Did you mean 'name'"),
        ("[[link]]\nbaud=9600", r"felinar.toml: link\[0\]: .*missing required field `url`"),
        ("[[link]]\nurl='/dev/a'\nbaud='fast'", r"link\[0\].baud: expected `int`, got `str`"),
        ("[[link]]\nurl='/dev/a'\nbaud=5", r"link\[0\].baud: expected `int` >= 300"),
        ("[log]\nlevel='loud'", "log.level: invalid enum value 'loud'"),
        ("[nodes.0]", "1 to 65534"),
        ("[nodes.70000]", "1 to 65534"),
        ("[nodes.main]", "nodes.main: a node is named by its address"),
        ("[nodes.1]\nlamp_w=-1", "lamp_w: expected `float` > 0"),
        ("[[link]]\nurl='/dev/a'\n[[link]]\nurl='/dev/a'", "named twice"),
        ("[control]\nlisten='0.0.0.0:80'", "could be reached from other machines"),
        ("[control]\nlisten='felinar.example:80'", "could be reached from other machines"),
        ("[control]\nlisten='here'", "is no address"),
        ("[control]\nlisten='127.0.0.1:99999'", "is no address"),
    ],
)
def test_mistakes(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        parse(text, "felinar.toml")
    assert "\n" not in str(caught.value)
    assert "Traceback" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path, words in ((tmp_path / "none.toml", "no such file"), (tmp_path, "is a directory")):
        with pytest.raises(ConfigError, match=words):
            load(path)
    (tmp_path / "bad.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load(tmp_path / "bad.toml")


def test_addresses() -> None:
    run = Path("/r")
    assert listen_address("unix", run) == Path("/r/control.sock")
    assert listen_address("unix:/tmp/x.sock", run) == Path("/tmp/x.sock")
    assert listen_address("127.0.0.1:80", run) == ("127.0.0.1", 80)
    assert listen_address("localhost:80", run) == ("localhost", 80)
    assert listen_address("[::1]:80", run) == ("::1", 80)


def test_durations() -> None:
    assert [seconds(text) for text in ("90s", "30m", "2h", "1d", "1h30m", "1.5h", " 5M ")] == [
        90, 1800, 7200, 86400, 5400, 5400, 300,
    ]  # fmt: skip
    for text in ("", "30", "m", "1x", "-5m", "5 m"):
        with pytest.raises(ConfigError, match="not a duration"):
            seconds(text)
    assert moment("2h", 10_000) == 2800
    assert moment("now", 10_000.7) == 10_000
    assert moment("1970-01-02T00:00Z", 0) == 86_400
    assert moment("1970-01-02T02:00:00+02:00", 0) == 86_400
    with pytest.raises(ConfigError, match="not a time"):
        moment("yesterday", 0)
    assert [ago(s) for s in (-3, 5, 99, 600, 7200, 500_000)] == ["0 s", "5 s", "99 s", "10 min", "2 h", "5 d"]
