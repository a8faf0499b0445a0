"""Tables of events from spreadsheets, other systems and damaged files."""

import re

import numpy as np
import pytest
from helpers import mutations

import hopfax as hx

ROWS = [(0.0, 0), (1.5, 2), (3.25, 1), (1000.0, None)]


def read(file, content):
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return hx.losses.read_events(file)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "events.csv"


def text(separator=",", decimal=".", header=True, end="\n", index="{}"):
    lines = [separator.join(("time", "memory"))] if header else []
    for time, memory in ROWS:
        cells = f"{time:g}".replace(".", decimal), "" if memory is None else index.format(memory)
        lines.append(separator.join(cells))
    return end.join(lines) + end


@pytest.mark.parametrize(
    "content",
    [
        text(),
        text(header=False),
        text(end="\r\n").encode("utf-8-sig"),
        text(end="\r"),
        text().encode("utf-16"),
        text("\t", ",").encode("utf-16"),  # "Unicode text" of a spreadsheet
        text().encode("utf-32"),
        text(";"),
        text(";", ",", end="\r\n"),
        text(";", ",", header=False, index="{}.0".replace(".", ",")),
        text("\t"),
        text("\t", ",", header=False),
        text(index="{}.0"),
        text(index=" {}e0 "),
        text(index='"{}"'),
        "sep=;\r\n" + text(";"),
        "sep=;\n" + text(";", ",", header=False),
        "\n,\n" + text() + ",,\n\n",
        text().replace("\n", ",,\n"),
        text().replace("time,memory", " Memory , TIME ,").replace("0,0", "0,0"),
        text().replace("time,memory", "time,memory,note").replace("1.5,2", '1.5,2,"a, b;\t"'),
        text().replace("time,memory", "time,memory,n\u00e9").encode("cp1252"),
        text(";", ",").replace("0;0", "\u00a00 ;0").encode("cp1252"),
    ],
)
def test_what_is_unambiguous_is_read(file, content):
    if isinstance(content, str) and "Memory" in content:  # the columns the other way round
        rows = [f"{'' if m is None else m},{t:g}" for t, m in ROWS]
        content = " Memory , TIME \n" + "\n".join(rows)
    (events,) = read(file, content)
    assert events.memory.tolist() == [0, 2, 1] and events.time.tolist() == [0.0, 1.5, 3.25]
    assert events.end == 1000.0


@pytest.mark.parametrize(
    ("content", "line", "what"),
    [
        ("time,memory\n", 1, "a header, and no row"),
        ("time;memory\n\n", 1, "a header, and no row"),
        ("time,time,memory\n0,0,1\n", 1, "names `time` twice"),
        ("t,m\n0,1\n", 1, "needs a header"),
        ("0,5,1,2\n1,0,1,2\n", 1, "needs 3 columns"),
        ("time,memory\n0,5,1\n", 2, "needs 2 columns"),
        ("time,memory\n0,0\n\n1_000,1\n", 4, "needs a number"),
        ("time,memory\n0,0\nnan,1\n", 3, "needs a number"),
        ("time,memory\n0,0\n1e999,1\n", 3, "needs a number"),
        ("time,memory\n0,0\n\u0661,1\n", 3, "needs a number"),
        ("time,memory\n0,0\n1,-1\n", 3, "needs a number"),
        ("time,memory\n0,0\n1,4294967297\n", 3, "needs a number"),
        ("time,memory\n0,0\n1,1.5\n", 3, "needs a number"),
        ("time,memory\n0,0\n,1\n", 3, "needs a number"),
        ("time;memory\n0,5;0\n1.000;1\n", 3, "which of them is the decimal point"),
        ("time;memory\n0;0\n1.000,5;1\n", 3, "needs a number"),
        ('time,memory\n0,0\n"1,000",1\n', 3, "needs a number"),
        ("time,memory\n0,0\n2,1\n1,0\n", 4, "later than that of line 3"),
        ("time,memory\n0,0\n2,1\n2,0\n", 4, "later than that of line 3"),
        ("time,memory\n0,0\n1,1\n1.00000000000000000001,0\n", 4, "later than that"),
        ("time,memory\n0,0\n1,0\n", 3, "follows itself"),
        ("time,memory\n0,0\n", 2, "at least two memories"),
        ("time,memory,sequence\n0,0,a\n0,1,b\n1,1,a\n", 3, "at least two memories"),
        ("time,memory,sequence\n0,0,a\n1,1\n", 3, "needs 3 columns"),
        ("time,memory,sequence\n0,0,a\n1,1,a\n0,0,\n1,1,\n", 4, "name it in every row"),
        ('time,memory\n0,0\n"1,1\n2,0\n', 3, "separators and quotes"),
        ('time,memory\n0,0\n"1"x,1\n', 3, "separators and quotes"),
        ("time,memory\n0,0\n1," + "1" * 200_000 + "\n", 3, "field larger"),
        ("time,memory\n0,0\n1,1\0\n", 3, "control character"),
        (text().encode("utf-16-le"), 1, "control character"),
        (text().encode("utf-16")[:-1], 5, "no text in utf-16"),
        (b"\xef\xbb\xbftime,memory\n0,0\n\xff,1\n", 3, "no text in utf-8"),
        (b"time,memory\n0,0\n1\xa0000,1\n", 3, "needs a number"),
        (b"PK\x03\x04 a workbook", 1, "control character"),
        ("sep=;\ntime,memory\n0,0\n1,1\n", 2, "must name"),
    ],
)
def test_what_is_not_is_named_by_its_line(file, content, line, what):
    with pytest.raises(ValueError, match=rf"`path`: .*events.csv, line {line}: .*{what}") as caught:
        read(file, content)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


def test_no_sequence_is_taken_for_another(file):
    content = "time,memory,sequence\n0,0,a\n0,2,b\n1,1,a\n1,0,b\n2,,b\n"
    first, second = read(file, content)
    assert first.memory.tolist() == [0, 1] and second.memory.tolist() == [2, 0]
    assert first.end is None and second.end == 2.0


# Damage


def plainly(content):
    """What a table says, by another reader of the plainest kind; None if it is not plain."""
    try:
        lines = [line for line in re.split("\r\n|\r|\n", content.decode()) if line.strip(' \t,;"')]
    except UnicodeDecodeError:
        return None
    separator = next((s for s in ",;\t" if s in lines[0]), ",") if lines else ","
    cells = [[cell.strip() for cell in line.split(separator)] for line in lines]
    if not cells or '"' in content.decode():
        return None
    names = ["time", "memory", "sequence"]
    if "time" in [name.lower() for name in cells[0]]:
        names, cells = [name.lower() for name in cells[0]], cells[1:]
    found = {}
    for row in cells:
        row = dict(zip(names, row, strict=False))
        point = row["time"].replace(",", "."), row["memory"].replace(",", ".")
        memory = int(float(point[1])) if point[1] else None
        found.setdefault(row.get("sequence", ""), []).append((float(point[0]), memory))
    return list(found.values())


SHAPES = [
    text().encode(),
    text(";", ",", end="\r\n").encode(),
    text("\t", header=False, index="{}.0").encode(),
    b"time,memory,sequence\n0,0,a\n1.5,2,a\n3,,a\n0,1,b\n2.75,2,b\n9,3,b\n",
    text().encode("utf-8-sig"),
]


@pytest.mark.parametrize("k", range(len(SHAPES)))
def test_1100_damaged_tables(k, file):
    """Each is read to the right values, or refused by its line."""
    read_at_all = 0
    for damaged in mutations(SHAPES[k], k, 220):
        try:
            found = read(file, damaged)
        except ValueError as error:
            assert re.match(rf"`path`: {file}(, line \d+: | is empty)", str(error)), error
            assert "\n" not in str(error)
            continue
        if (wanted := plainly(damaged.removeprefix(b"\xef\xbb\xbf"))) is None:
            continue
        read_at_all += 1
        assert len(found) == len(wanted)
        for events, rows in zip(found, wanted, strict=True):
            end = rows.pop()[0] if rows[-1][1] is None else None
            assert events.memory.tolist() == [memory for _, memory in rows]
            np.testing.assert_array_equal(events.time, [time for time, _ in rows])
            assert (events.end if end is None else float(events.end)) == end
    assert read_at_all > 5
