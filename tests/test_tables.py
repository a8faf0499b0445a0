"""Tables of events from spreadsheets, other systems and damaged files."""

import re

import numpy as np
import pytest
from helpers import mutations

import hopfax as hx
from hopfax.losses._tables import read_table

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
        ("sep=;\ntime,memory\n0,0\n1,1\n", 2, "needs columns named"),
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


# What stands for a memory


def table(memories, end=False):
    rows = [f"{k},{memory}" for k, memory in enumerate(memories)]
    return "\n".join(["time,memory", *rows, *([f"{len(rows)},"] if end else [])])


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("header", [True, False])
def test_memories_may_have_names(file, separator, header):
    content = table(["rest", "left hand", "b2", "rest", "naïve"], end=True)
    content = content.replace(",", separator)
    (events,) = read(file, content if header else content.partition("\n")[2])
    assert events.memory.tolist() == [0, 1, 2, 0, 3] and events.end == 5.0
    assert read_table(file).names == ("rest", "left hand", "b2", "naïve")
    names = ["b2", "naïve", "left hand", "rest", "unseen"]
    (events,) = hx.losses.read_events(file, names=names)
    assert events.memory.tolist() == [3, 2, 0, 3, 1]


def test_names_are_the_same_in_all_sequences(file):
    content = "time,memory,sequence\n0,A,x\n1,B,x\n0,B,y\n1,C,y\n2,A,y\n"
    assert [events.memory.tolist() for events in read(file, content)] == [[0, 1], [1, 2, 0]]


@pytest.mark.parametrize(
    ("content", "options", "what"),
    [
        (table(["A", "B", "2"]), {}, "line 4: '2' is an index, and other rows have names"),
        (table(["0", "1", "B"]), {}, "line 4: 'B' is a name, and other rows have indices"),
        (table(["A", "B", "C"]), dict(names=["A", "B"]), "line 4: 'C' is none of the memories"),
        (table(["A", "A"]), {}, "line 3: memory A follows itself.*`join`"),
        (table(["A", "A"]), dict(join=True), "line 3: a sequence needs at least two memories"),
        (table(["1", "2", "3"]), {}, "1 to 3 and never 0.*`first` = 1.*`first` = 0"),
        (table(["1", "0"]), dict(first=1), "line 3: the memory is 0"),
        (table(["nan", "nan"]), {}, "line 2: needs a number"),
        (table(["0", "1"]).replace("\n1,", "\ninf,"), {}, "line 3: needs a number"),
    ],
)
def test_what_stands_for_a_memory_is_clear(file, content, options, what):
    file.write_text(content)
    with pytest.raises(ValueError, match=what):
        hx.losses.read_events(file, **options)


def test_indices_may_count_from_one(file):
    file.write_text(table([1, 2, 3, 1]))
    for first, expected in ((1, [0, 1, 2, 0]), (0, [1, 2, 3, 1])):
        assert hx.losses.read_events(file, first=first)[0].memory.tolist() == expected
    assert read(file, table([1, 3]))[0].memory.tolist() == [1, 3]  # clear: there is no 2
    assert read(file, table([2, 0, 1]))[0].memory.tolist() == [2, 0, 1]
    for wrong in (2, True):
        with pytest.raises(ValueError, match="`first` must be 0 or 1"):
            hx.losses.read_events(file, first=wrong)
    with pytest.raises(TypeError, match="`names` must be a list"):
        hx.losses.read_events(file, names="abc")


def test_a_memory_that_leaves_and_comes_back_is_joined(file):
    """As `visited` reports of a run in which the lead is lost to a memory that is not retrieved."""
    apart = hx.Events([0, 12, 12, 3])  # as contexts show it
    with pytest.raises(ValueError, match="follows itself.*join=True"):
        hx.losses.order(apart, P=13)
    assert hx.Events([0, 12, 12, 3, 3], join=True).memory.tolist() == [0, 12, 3]
    times = [0.0, 10.0, 12.0, 30.0]
    events = hx.Events([0, 12, 12, 3], times, end=40.0, join=True)
    assert events.dwells.tolist() == [10.0, 20.0, 10.0]
    assert read(file, table([0, 1]))[0].memory.tolist() == [0, 1]
    file.write_text(table([0, 1, 1, 2], end=True))
    (events,) = hx.losses.read_events(file, join=True)
    assert events.memory.tolist() == [0, 1, 2] and events.time.tolist() == [0.0, 1.0, 3.0]
    with pytest.raises(ValueError, match="names one alone"):
        hx.Events([1, 1], join=True)
