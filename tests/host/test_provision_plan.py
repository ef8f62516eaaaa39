"""Plans as people and their spreadsheets write them; each fault is told with line, column and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest
from felinar.provision.errors import ProvisionError
from felinar.provision.plan import EXAMPLE, PlanEntry, load, parse

HEAD = "pole,name,latitude,longitude\n"
ROWS = [
    PlanEntry("B-1", "Strada Unirii, colț", 47.74012, -26.5, "Botoșani", "centru", 17, 60.5, "sim"),
    PlanEntry("B-2", "Łódzka", 47.0, 26.0, extra={"remark": "hoch"}),
]


def faults(text: str | bytes, **more: object) -> list[str]:
    with pytest.raises(ProvisionError) as caught:
        parse(text.encode() if isinstance(text, str) else text, "poles.csv", **more)  # type: ignore[arg-type]
    assert caught.value.exit_status == 2
    assert caught.value.remedy
    return [line.strip() for line in caught.value.sentence.splitlines()]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize(
    "text",
    [
        "pole,name,latitude,longitude,place,group,address,lamp_w,board,Remark\n"
        'B-1,"Strada Unirii, colț",47.74012,-26.5,Botoșani,centru,17,60.5,sim,\n\n'
        "B-2,Łódzka,47,26,,,,,,hoch\n",
        "sep=;\r\nPole;Name;LAT;lon;place;group;address;lamp_w;board;remark;;\r\n"
        " B-1 ;Strada Unirii, colț;47,74012;\N{MINUS SIGN}26,5;Botoșani;centru;17;60,5;SIM;;;\r\n"
        ";;;;;;;;;;;\r\nB-2;Łódzka;47;26;;;;;;hoch;;\r\n",
        "pole\tname\tlatitude\tlongitude\tplace\tgroup\taddress\tlamp_w\tboard\tremark\r"
        "B-1\tStrada Unirii, colț\t47.74012\t-26.5\tBotoșani\tcentru\t17\t60.5\tsim\r"
        "B-2\tŁódzka\t+47\t26\t\t\t\t\t\thoch",
        "pole,name,latitude,longitude,place,group,address,lamp_w,board,remark\n"
        'B-1,"Strada Unirii, colț","47,74012","-26,5",Botoșani,centru,17,"60,5",sim\nB-2,Łódzka,47.0,26.0,,,,,,hoch',
    ],
)
def test_dialects(text: str, encoding: str) -> None:
    assert parse(text.encode(encoding), "poles.csv", boards=["sim"]) == ROWS


def test_the_example_is_one(tmp_path: Path) -> None:
    path = tmp_path / "poles.csv"
    path.write_text(EXAMPLE, encoding="utf-8")
    entries = load(path)
    assert [entry.pole for entry in entries] == ["B-0041", "B-0042", "B-0117"]
    assert entries[2].name == "Piața Revoluției, colț"
    assert entries[2].address == 117


def test_other_encodings_are_named_not_guessed() -> None:
    data = (HEAD + "B-1,Strada Botoșani,47,26\n").encode("cp1250", "replace").replace(b"Boto?ani", b"Boto\xbaani")
    assert "line 2: a letter is not UTF-8" in faults(data)[0]
    assert parse(data, "x", encoding="cp1250")[0].name == "Strada Botoşani"
    assert "no encoding 'nope'" in faults(data, encoding="nope")[0]
    assert "line 1: a character of no text" in faults("PK\x03\x04\0\0")[0]


def test_each_fault_is_told_where_it_is() -> None:
    text = (
        "pole,name,latitude,longitude,group,address,lamp_w,board\n"
        "B-1,A,91,26,,0,,simm\n"
        ",A,4.7.1,,,x,0,\n"
        f'B-2,"two\nlines",47,26,{"g" * 41},65535,1e3,\n'
        "b-1,A,47,26,,5,60,\n"
        "B-2,A,47,26,,5,60,\n"
        "B-3,A,47,74,26,59,,5,60,\n"
    )
    assert faults(text, boards=["sim", "heltec_v3"]) == [
        "The plan poles.csv has 14 faults:",
        "line 2, latitude: 91 is out of range. It goes from -90 to 90 degrees.",
        "line 2, address: '0' is no address. Write a whole number from 1 to 65534, or leave it empty.",
        "line 2, board: there is no board 'simm'. Did you mean sim?",
        "line 3, latitude: '4.7.1' is no number. Write it like 47.74012.",
        "line 3, longitude: is empty. Each pole needs one.",
        "line 3, pole: is empty. Each pole needs one.",
        "line 3, address: 'x' is no address. Write a whole number from 1 to 65534, or leave it empty.",
        "line 3, lamp_w: 0 is out of range. It goes from 0.1 to 2000 W.",
        "line 4, name: has a line break or another character that can't be printed. Take it out.",
        "line 4, group: has 41 characters. At most 40 are allowed.",
        "line 4, address: '65535' is no address. Write a whole number from 1 to 65534, or leave it empty.",
        "line 4, lamp_w: '1e3' is no number. Write it like 60.",
        "line 7, address: '5' stands in line 6 already. Each pole has its own.",
        "line 8: 9 cells, but 8 columns. Where commas part the cells, put numbers with a decimal comma and texts with a "
        'comma in quotation marks ("38,19").',
    ]


def test_poles_differ_whatever_their_case() -> None:
    assert faults(HEAD + "B-1,A,47,26\nb-1,B,47,26\n")[1].startswith("line 3, pole: 'b-1' stands in line 2 already")


def test_headers() -> None:
    assert "line 1: the column latitude is missing" in faults("pole,name,lattitude,longitude\n")[0]
    with pytest.raises(ProvisionError, match="'lattitude' is perhaps meant to be 'latitude'"):
        parse(b"pole,name,lattitude,longitude\n", "x")
    assert "'name' stands there twice" in faults("pole,name,name,latitude,longitude\n")[0]
    assert "column 2 has no name" in faults("pole,,name,latitude,longitude\n")[0]
    assert "has no poles" in faults(HEAD)[0]
    assert "has no poles" in faults("")[0]
    assert "quotation mark" in faults(HEAD + 'B-1,"A,47,26\n')[1]


def test_what_a_node_is_to_speak_through() -> None:
    plan = HEAD.strip() + ",line\nB-1,A,47,26,Radio\nB-2,A,47,26,wired\nB-3,A,47,26,\n"
    assert [entry.line for entry in parse(plan.encode(), "poles.csv")] == ["radio", "wired", ""]
    told = faults(HEAD.strip() + ",line\nB-1,A,47,26,L4\n")
    assert told[1] == "line 2, line: 'l4' is no line. Write wired or radio, or leave it empty."


def test_a_long_list_of_faults_is_cut() -> None:
    told = faults(HEAD + "".join(f"B-{n},A,x,26\n" for n in range(30)))
    assert len(told) == 22
    assert told[-1] == "and 10 more"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ProvisionError, match="can't be read: no such file"):
        load(tmp_path / "x.csv")
