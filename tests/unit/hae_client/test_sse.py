"""Server-sent events from bytes, however these are cut."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hae_client import Event, UnreadableAnswer
from hae_client.sse import MAX_LINE, Reader

FEED = [
    {"position": 3, "id": "evt_a", "kind": "job_matched", "at": "t1", "job_id": "job_1", "data": {"attempt": 1}},
    {"position": 7, "id": "evt_b", "kind": "job_failed", "at": "t2", "job_id": "job_1", "data": {"error": "zwölf\r\n"}},
]


def told(end: str) -> bytes:
    lines = [": hello", "", "retry: 1000", ""]
    for event in FEED:
        first, second = json.dumps(event, ensure_ascii=False, indent=1).split("\n", 1)
        lines += [f"id: {event['position']}", f"event: {event['kind']}", f"data: {first}"]
        lines += [f"data:{line}" for line in second.split("\n")]
        lines.append("")
    lines += ["event: closing", 'data: {"position": 9}', "", ": still here", "", ""]
    return end.join(lines).encode()


EXPECTED = [
    Event(3, "evt_a", "job_matched", "t1", "job_1", {"attempt": 1}),
    Event(7, "evt_b", "job_failed", "t2", "job_1", {"error": "zwölf\r\n"}),
]


@given(st.sampled_from(["\n", "\r\n", "\r"]), st.lists(st.integers(0, 500), max_size=12))
def test_events_come_out_whole_wherever_the_bytes_are_cut(end: str, cuts: list[int]) -> None:
    content = told(end)
    places = sorted({0, len(content), *(min(cut, len(content)) for cut in cuts)})
    reader = Reader()
    found = [event for start, stop in pairwise(places) for event in reader.feed(content[start:stop])]
    assert found == EXPECTED
    assert reader.after == 7


def test_what_was_seen_is_passed_over() -> None:
    assert list(Reader(after=3).feed(told("\n"))) == EXPECTED[1:]
    reader = Reader()
    assert [*reader.feed(told("\n")), *reader.feed(told("\n"))] == EXPECTED


def test_words_about_the_stream_are_no_events() -> None:
    reader = Reader()
    assert list(reader.feed(b": still here\r\n\r\nid: 41\r\n\r\n")) == []
    assert reader.after == 41
    cut = b'id: 44\r\nevent: cut_off\r\ndata: {"code": "slow_reader"}\r\n\r\nretry: 1500\r\n: bye\r\n\r\n'
    assert list(reader.feed(cut)) == []
    assert (reader.after, reader.retry_s) == (44, 1.5)
    assert list(reader.feed(b"retry: 999999999\n\nretry: soon\n\nid: 43\n\n")) == []
    assert (reader.after, reader.retry_s) == (44, 10.0)


def test_an_event_of_a_job_lies_open() -> None:
    body = {"event": "job_started", "id": "evt_c", "at": "t", "job_id": "job_2", "state": "running"}
    (event,) = Reader().feed(f"data: {json.dumps(body)}\nevent: job_started\nid: 12\n\n".encode())
    assert (event.position, event.id, event.kind, event.job_id) == (12, "evt_c", "job_started", "job_2")
    assert event.data["state"] == "running"


@pytest.mark.parametrize("content", [b"id: 1\ndata: {\n\n", b"id: 1\ndata: [1]\n\n", b"x" * (MAX_LINE + 1)])
def test_what_cannot_be_read_is_told(content: bytes) -> None:
    with pytest.raises(UnreadableAnswer, match="the stream sent"):
        list(Reader().feed(content))
