"""Bytes become events and lines, whatever the pieces in which they arrive."""

import json
import random
import time

import pytest
from MetaSSLSegmentLib.Engine.EventDecoder import LONGEST_LINE, EventDecoder

PROGRESS = {"event": "progress", "phase": "Übung", "fraction": 0.5, "text": "Fall 日本 🧠"}


def decoded(data, size=None):
    """What a decoder makes of bytes that come in pieces of this size."""
    decoder = EventDecoder()
    size = size or max(1, len(data))
    items = [item for start in range(0, len(data), size) for item in decoder.feed(data[start : start + size])]
    return items + decoder.finish()


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 64, None])
def test_pieces_of_any_size_give_the_same_events_and_lines(size):
    data = b"".join(
        (json.dumps(PROGRESS, ensure_ascii=ascii_only) + end).encode() + "Zeile ä\n".encode()
        for ascii_only in (True, False)
        for end in ("\n", "\r\n")
    )
    assert decoded(data, size) == [PROGRESS, "Zeile ä"] * 4


def test_random_cuts_never_lose_or_invent_anything():
    source = random.Random(0)
    expected = [{"event": "metrics", "n": n, "name": "ä🧠" * (n % 5)} if n % 3 else f"line {n} ü" for n in range(300)]
    data = b"".join(
        (item if isinstance(item, str) else json.dumps(item, ensure_ascii=False)).encode() + b"\n" for item in expected
    )
    for _attempt in range(20):
        decoder, items, start = EventDecoder(), [], 0
        while start < len(data):
            end = start + source.randint(0, 90)
            items += decoder.feed(data[start:end])
            start = end
        assert items + decoder.finish() == expected


def test_half_a_line_waits_for_its_other_half():
    decoder = EventDecoder()
    assert decoder.feed(b'{"event": "do') == []
    assert decoder.feed(b'ne"}') == []
    assert decoder.feed(b"\n") == [{"event": "done"}]
    assert decoder.finish() == []


def test_a_last_line_without_its_end_is_told_when_the_output_ends():
    decoder = EventDecoder()
    assert decoder.feed(b'{"event": "done"}') == []
    assert decoder.finish() == [{"event": "done"}]
    assert decoder.finish() == []


def test_a_character_that_was_cut_for_ever_becomes_a_replacement():
    decoder = EventDecoder()
    assert decoder.feed("Über ü".encode()[:-1]) == []
    assert decoder.finish() == ["Über \ufffd"]


def test_bytes_that_are_no_utf8_are_replaced_and_the_next_event_arrives():
    assert decoded(b'\xff\xfe broken \xe9\n{"event": "done"}\n') == ["\ufffd\ufffd broken \ufffd", {"event": "done"}]


@pytest.mark.parametrize(
    "line",
    [
        "[1, 2]",
        "3",
        "null",
        '"event"',
        '{"no": "event"}',
        '{"event": 5}',
        '{"event": null}',
        "{'event': 'done'}",
        '{"event": "done"',
        "[" * 100000,
        '{"a":' * 100000,
        "1" * 5000,
    ],
    ids=lambda line: line[:20],
)
def test_what_is_no_event_is_a_line_for_the_log(line):
    assert decoded(line.encode() + b"\n") == [line]


def test_empty_lines_are_left_out():
    assert decoded(b"\n \n\r\n\t\na\n\n") == ["a"]


def test_of_a_progress_bar_that_writes_over_itself_the_last_state_remains():
    assert decoded(b"\r 10 %\r 50 %\r100 %\nnext\r\n") == ["100 %", "next"]


def test_separators_that_python_takes_for_line_ends_stay_inside_their_line():
    line = "one\u2028two\x0bthree\x0c\x85four"
    assert decoded(line.encode() + b"\n") == [line]


def test_output_without_line_ends_is_passed_on_in_pieces_and_takes_no_time():
    decoder, piece, pieces = EventDecoder(), b"x" * 65536, 320
    start = time.perf_counter()
    items = [item for _n in range(pieces) for item in decoder.feed(piece)] + decoder.finish()
    assert time.perf_counter() - start < 5, "20 MB; copying the whole line again and again takes minutes"
    assert sum(map(len, items)) == pieces * len(piece)
    assert max(map(len, items)) <= LONGEST_LINE + len(piece)
