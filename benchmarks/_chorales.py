"""Soprano lines of Bach's chorales, as sequences of items: pitch and length of a note."""

import json
import pathlib

Line = list[tuple[int, float]]


def soprano_lines(stored: str | None = None) -> dict[str, Line]:
    """The line of every chorale that music21 ships, by file; of equal lines the first.

    A note is its MIDI pitch and its length in quarter notes; tied notes are one. Reading the corpus
    takes a minute or two, so it is kept in the file `stored`, if that is given.
    """
    file = None if stored is None else pathlib.Path(stored)
    if file is not None and file.exists():
        lines = json.loads(file.read_text())
    else:
        lines = _corpus()
        if file is not None:
            file.write_text(json.dumps(lines))
    distinct: dict[str, Line] = {}
    for name, notes in lines.items():
        line = [(int(pitch), float(length)) for pitch, length in notes]
        if line not in distinct.values():
            distinct[name] = line
    return distinct


def _corpus() -> dict[str, list]:
    try:
        from music21 import corpus
    except ImportError:
        raise SystemExit("the chorales come with music21: pip install music21") from None
    lines = {}
    for path in sorted(corpus.getComposer("bach")):
        try:
            parts = corpus.parse(str(path)).parts
        except Exception as error:  # a file of the corpus that music21 itself cannot read
            print(f"skipped {path}: {error!r}")
            continue
        named = [part for part in parts if "sopran" in str(part.partName or part.id).lower()]
        if named:
            lines[path.name] = _notes(named[0])
    return lines


def _notes(part) -> list:
    notes = []
    for note in part.recurse().notes:
        highest = note[-1] if note.isChord else note
        length = float(note.quarterLength)
        if note.tie is not None and note.tie.type in ("stop", "continue") and notes:
            notes[-1][1] += length
        elif length > 0:  # grace notes have none
            notes.append([int(highest.pitch.midi), length])
    return notes
