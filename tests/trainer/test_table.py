"""Tables: every format reads alike, and what is wrong with a file is said all at once, with its place."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.data.delimited import detect
from trainer.data.findings import Findings
from trainer.data.table import Table, read_table
from trainer.errors import InvalidData


def read(root: Path, content: dict[str, bytes | str], **more: Any) -> tuple[Table, Findings]:
    for name, text in content.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(text.encode() if isinstance(text, str) else text)
    findings = Findings()
    return read_table(root, findings, **more), findings


def problems(findings: Findings) -> list[str]:
    with pytest.raises(InvalidData) as caught:
        findings.settle("fail")
    return list(caught.value.problems)


RECORDS = [{"text": "one, two", "label": "a"}, {"text": "three\nfour", "label": "b"}, {"text": 'he said "no"', "label": "a"}]
QUOTED = 'text,label\n"one, two",a\n"three\nfour",b\n"he said ""no""",a\n'
LINES = "".join(json.dumps(record) + "\n" for record in RECORDS)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rows.csv", QUOTED),
        ("rows.csv", "\ufeff" + QUOTED),
        ("rows.csv", QUOTED.replace("\na", "\na").replace("a\n", "a\r\n").replace("label\n", "label\r\n")),
        ("rows.csv", QUOTED.replace(",a", ";a").replace(",b", ";b").replace("text,", "text;")),
        ("rows.tsv", QUOTED.replace(",a", "\ta").replace(",b", "\tb").replace("text,", "text\t")),
        ("rows.jsonl", LINES),
        ("rows.ndjson", LINES.replace("\n", "\n\n")),
        ("rows.json", json.dumps(RECORDS, indent=1)),
        ("rows.json", LINES),
    ],
)
def test_the_same_records_in_every_text_format(tmp_path: Path, name: str, text: str) -> None:
    table, findings = read(tmp_path, {name: text})

    findings.settle("fail")
    assert table.columns == {"text": [r["text"] for r in RECORDS], "label": ["a", "b", "a"]}
    assert set(table.files) == {name}


def test_parquet_keeps_its_types(tmp_path: Path) -> None:
    columns = {"tokens": [["a", "b"], []], "image": [{"bytes": b"\x00\xff", "path": "x"}, None], "n": [1, 2], "x": [0.5, None]}
    when = pa.array([0, 86_400], pa.timestamp("s"))
    pq.write_table(pa.table({**columns, "when": when}), tmp_path / "rows.parquet")

    table, findings = read(tmp_path, {})

    findings.settle("fail")
    assert table.columns == {**columns, "when": ["1970-01-01T00:00:00", "1970-01-02T00:00:00"]}
    assert table.rows == [1, 2]


def test_cells_of_csv_stay_text_and_json_stays_typed(tmp_path: Path) -> None:
    csv, _ = read(tmp_path / "csv", {"rows.csv": "id,n,empty\n007,1.50,\n"})
    typed, _ = read(tmp_path / "json", {"rows.jsonl": '{"id": "007", "n": 1.5}\n{"n": 2, "list": [1]}\n'})

    assert csv.columns == {"id": ["007"], "n": ["1.50"], "empty": [None]}
    assert typed.columns == {"id": ["007", None], "n": [1.5, 2], "list": [None, [1]]}


def test_all_that_is_wrong_is_said_at_once_with_file_and_row(tmp_path: Path) -> None:
    bad_csv = b'text,label\nfine,a\none,two,three\n"two\nlines",b\nonly\ncaf\xe9,c\n'
    table, findings = read(tmp_path, {"train.csv": bad_csv, "test.jsonl": '{"text": "x", "label": "a"}\n{"text": \n[1]\n'})

    found = problems(findings)
    assert found[:5] == [
        "train.csv, row 3: 3 cells where the header has 2",
        "train.csv, row 5: 1 cells where the header has 2",
        "train.csv, row 6: byte 54 (0xe9) is not UTF-8; in cp1252 (Windows) it would be 'é': save the file as UTF-8",
        "test.jsonl, row 2: it is not JSON: Expecting value: line 2 column 1 (char 10)",
        "test.jsonl, row 3: it is a list, not an object",
    ]
    assert found[5].startswith("5 rows cannot be used")
    assert table.columns["text"] == ["fine", "two\nlines", "x"]
    assert (table.rows, table.parts) == ([2, 4, 1], ["train", "train", "test"])


def test_bad_rows_may_be_dropped_and_are_counted(tmp_path: Path) -> None:
    table, findings = read(tmp_path, {"rows.csv": "a,b\n1,2\n3\n4,5\n6,7,8\n"})
    findings.bad_row("a must be a number", file="rows.csv", row=3, column="a")  # the same row once more

    findings.settle("drop")
    assert table.columns["a"] == ["1", "4"]
    report = findings.report()
    assert report["rows_dropped"] == 2
    assert report["problems"] == [
        "rows.csv, row 3: 1 cells where the header has 2",
        "rows.csv, row 3, column a: a must be a number",
        "rows.csv, row 5: 3 cells where the header has 2",
    ]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("rows.csv", b"", "rows.csv: the file is empty"),
        ("rows.csv", b" \n\n", "rows.csv: the file is empty"),
        ("rows.csv", b"a,b\n", "rows.csv: there are no rows"),
        ("rows.csv", b"a,a,b\n1,2,3\n", "rows.csv, row 1: the header names 'a' more than once"),
        ("rows.csv", b",,\n1,2,3\n", "rows.csv, row 1: the header is empty"),
        ("rows.csv", b"caf\xe9,b\n1,2\n", "rows.csv, row 1: byte 3 (0xe9) is not UTF-8"),
        ("rows.csv", b'a,b\n1,2\n"3,4\n5,6\n', "row 3: it is not sound CSV from here on: a quotation mark is opened and never closed"),
        ("rows.csv", b'a,b\n1,"2"x\n', "row 2: it is not sound CSV from here on: ',' expected after '\"'"),
        ("rows.csv", "a,b\n1,2\n".encode("utf-16"), "rows.csv: the file is UTF-16; save it as UTF-8"),
        ("rows.csv", b"PK\x03\x04\x00\x00", "rows.csv: the file is not text: byte 4 is zero"),
        ("rows.json", b'[{"a": 1}', "rows.json: it is not JSON"),
        ("rows.json", b'[{"a": "\xff"}]', "rows.json: byte 8 is not UTF-8"),
        ("rows.parquet", b"not parquet at all", "rows.parquet: it is not a readable parquet file"),
        ("notes.txt", b"hello", "holds no table: no file ends in .csv"),
    ],
)
def test_what_cannot_be_read_at_all_is_fatal(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    _, findings = read(tmp_path, {name: content})

    with pytest.raises(InvalidData) as caught:
        findings.settle("drop")
    assert said in caught.value.problems[0]


def test_a_missing_column_names_those_that_exist(tmp_path: Path) -> None:
    table, findings = read(tmp_path, {"rows.csv": "Text,Label\nx,y\n"})

    assert table.column("text", findings) == [None]
    assert problems(findings) == ["there is no column 'text'; the columns are 'Text', 'Label'"]


def test_two_different_tables_are_not_taken_for_one(tmp_path: Path) -> None:
    _, findings = read(tmp_path, {"movies.csv": "movie,title,year\n1,a,2\n", "ratings.csv": "user,movie,rating\n1,1,2\n"})

    assert "ratings.csv: its columns are 'user', 'movie', 'rating', those of movies.csv 'movie', 'title', 'year'" in problems(findings)[0]


def test_a_column_may_tell_the_split_and_is_no_feature_then(tmp_path: Path) -> None:
    text = "x,split\n1,train\n2,Dev\n3,TEST\n4,\n5,holdout\n"
    table, findings = read(tmp_path, {"rows.csv": text})

    assert table.columns == {"x": ["1", "2", "3", "4"]}
    assert table.parts == ["train", "validation", "test", None]
    assert problems(findings)[0] == "rows.csv, row 6, column split: 'holdout' is none of train, validation, test"


def test_a_column_of_that_name_with_other_values_stays_a_column(tmp_path: Path) -> None:
    table, findings = read(tmp_path, {"rows.csv": "x,split\n1,banana\n2,pea\n"})

    findings.settle("fail")
    assert table.columns["split"] == ["banana", "pea"]
    assert table.parts == [None, None]


def test_quotes_of_a_tsv_may_be_letters() -> None:
    assert detect(["text\tlabel\n", '"quoted"\t1\n'], prefers_tab=True).literal_quotes is False
    assert detect(["text\tlabel\n", '"he began\t1\n'], prefers_tab=True).literal_quotes is True


def test_keep_keeps_the_provenance(tmp_path: Path) -> None:
    table, _ = read(tmp_path, {"rows.csv": "x\n1\n2\n3\n"})
    kept = table.keep(np.array([True, False, True]))

    assert (kept.columns, kept.rows, kept.where(1)) == ({"x": ["1", "3"]}, [2, 4], {"file": "rows.csv", "row": 4})


def test_a_hundred_problems_are_spelled_out_and_the_rest_counted() -> None:
    findings = Findings()
    for row in range(250):
        findings.bad_row("it is " + "very " * 200 + "long", file="rows.csv", row=row, column="text")

    found = problems(findings)
    assert found[-2] == f"and {250 - (len(found) - 2)} more problems"
    assert found[-1].startswith("250 rows cannot be used")
    assert len("\n".join(found)) < 20_000
    assert str(InvalidData(["one", "two"])) == "one\ntwo"


CELLS = st.text(st.characters(exclude_characters="\r\0", exclude_categories=["Cs"]), min_size=1, max_size=12)


@given(rows=st.lists(st.lists(CELLS, min_size=3, max_size=3), min_size=1, max_size=8), delimiter=st.sampled_from([",", ";", "\t"]))
def test_whatever_is_quoted_comes_back(tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]], delimiter: str) -> None:
    root = tmp_path_factory.mktemp("csv")
    lines = [delimiter.join('"' + cell.replace('"', '""') + '"' for cell in cells) for cells in [["a", "b", "c"], *rows]]
    table, findings = read(root, {"rows.csv": "\n".join(lines)})

    findings.settle("fail")
    assert [list(cells) for cells in zip(*table.columns.values(), strict=True)] == rows
    assert table.rows == list(range(2, 2 + len(rows)))


@given(content=st.binary(max_size=200), name=st.sampled_from(["x.csv", "x.tsv", "x.jsonl", "x.json", "x.parquet"]))
def test_no_bytes_make_reading_fail_in_another_way(tmp_path_factory: pytest.TempPathFactory, content: bytes, name: str) -> None:
    table, findings = read(tmp_path_factory.mktemp("junk"), {name: content})

    assert table.num_rows or findings.has_fatal or findings.num_bad_rows
    assert all(len(cells) == table.num_rows for cells in table.columns.values())
