from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from litestar.exceptions import ValidationException

from app.http.body import INT64_MAX, INT64_MIN, MAX_DEPTH, Input, _is_deeper_than, decode
from app.http.problems import BadRequest


class Requirements(Input):
    gpus: int
    models: list[str] = msgspec.field(default_factory=list)


class Job(Input):
    name: str
    requirements: Requirements | None = None
    payload: dict[str, Any] = msgspec.field(default_factory=dict)


def errors(body: bytes, kind: Any = Job) -> list[tuple[str, str]]:
    with pytest.raises(ValidationException) as caught:
        decode(body, kind)
    assert isinstance(caught.value.extra, list)
    return [(item["key"], item["message"]) for item in caught.value.extra]


def bad_request(body: bytes, kind: Any = Any) -> str:
    with pytest.raises(BadRequest) as caught:
        decode(body, kind)
    assert caught.value.status_code == 400
    return caught.value.code


def test_a_good_body_becomes_the_type() -> None:
    job = decode(b'{"name":"a","requirements":{"gpus":2},"payload":{"x":[1,2.5,null]}}', Job)
    assert job == Job(name="a", requirements=Requirements(gpus=2), payload={"x": [1, 2.5, None]})


def test_every_wrong_top_level_field_is_named_with_its_path() -> None:
    found = dict(errors(b'{"nmae":"a","requirements":{"gpus":"2"},"payload":[]}'))
    assert found == {
        "nmae": "Unknown field",
        "name": "Required field is missing",
        "requirements.gpus": "Expected `int`, got `str`",
        "payload": "Expected `object`, got `array`",
    }


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (b'{"name":"a","requirements":{"gpus":1,"models":["x",3]}}', "requirements.models[1]"),
        (b'{"name":"a","requirements":{"gpus":1,"color":1}}', "requirements.color"),
        (b'{"name":"a","requirements":{}}', "requirements.gpus"),
        (b'{"name":"a","requirements":{"gpus":true}}', "requirements.gpus"),
        (b'{"name":"a","requirements":{"gpus":1e2}}', "requirements.gpus"),
    ],
)
def test_nested_fields_are_named(body: bytes, path: str) -> None:
    assert [found for found, _ in errors(body)] == [path]


@pytest.mark.parametrize("body", [b"[]", b"null", b'"x"', b"1"])
def test_a_body_of_another_shape_is_refused(body: bytes) -> None:
    assert "Expected `object`" in errors(body)[0][1]


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (rb'{"name":"a\u0000b"}', "name"),
        (rb'{"name":"a","payload":{"x":[{"y":"\u0000"}]}}', "payload.x[0].y"),
        (rb'{"name":"a","payload":{"x":{"\u0000":1}}}', "payload.x"),
        (rb'{"name":"a\\\u0000"}', "name"),
    ],
)
def test_nul_is_refused_everywhere(body: bytes, path: str) -> None:
    assert [(path, True)] == [(found, "NUL" in text) for found, text in errors(body)]


def test_an_escaped_backslash_before_u0000_is_plain_text() -> None:
    assert decode(rb'{"name":"a\\u0000"}', Job).name == r"a\u0000"
    assert decode(rb'{"name":"a\\\\u0000","payload":{"\\u0000":1}}', Job).payload == {r"\u0000": 1}


@pytest.mark.parametrize("number", [INT64_MIN, INT64_MAX])
def test_int64_itself_is_accepted(number: int) -> None:
    assert decode(b'{"name":"a","payload":{"n":%d}}' % number, Job).payload == {"n": number}


@pytest.mark.parametrize("number", [INT64_MAX + 1, INT64_MIN - 1, 10**30, 10**400])
def test_integers_past_int64_are_refused(number: int) -> None:
    assert len(errors(b'{"name":"a","payload":{"n":[%d]}}' % number)) == 1
    assert errors(b'{"name":"a","requirements":{"gpus":%d}}' % number)[0][0].startswith("requirements")


def test_long_digits_in_text_and_fractions_are_no_integers() -> None:
    body = b'{"name":"%s","payload":{"x":0.%s}}' % (b"9" * 40, b"1" * 40)
    assert decode(body, Job).name == "9" * 40


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity"])
def test_numbers_that_are_none_are_malformed(number: bytes) -> None:
    assert bad_request(b'{"x":' + number + b"}") == "malformed_json"


def test_a_number_past_float64_is_refused() -> None:
    assert "out of range" in errors(b'{"name":"a","payload":{"x":1e400}}')[0][1]


def nested(depth: int, opening: bytes = b"[", closing: bytes = b"]") -> bytes:
    return opening * depth + closing * depth


@pytest.mark.parametrize("kind", [Any, Job])
def test_depth_is_bounded(kind: Any) -> None:
    def body(depth: int) -> bytes:
        return nested(depth) if kind is Any else b'{"name":"a","payload":{"x":%s}}' % nested(depth - 2)

    decode(body(MAX_DEPTH), kind)
    for depth in (MAX_DEPTH + 1, 1_200, 100_000):
        assert bad_request(body(depth), kind) == "json_too_deep"


def test_many_brackets_side_by_side_are_not_deep() -> None:
    assert len(decode(b"[" + b",".join([b'{"a":[]}'] * 5_000) + b"]", Any)) == 5_000
    assert decode(b'{"name":"%s"}' % (b"[" * 5_000), Job).name == "[" * 5_000


@pytest.mark.parametrize("body", [b"", b"{", b"{} x", b"[1,]", b'"\xff"', b"\xff\xfe", b'"\\ud800"', b'"a\x00b"'])
def test_what_is_no_json_is_malformed(body: bytes) -> None:
    assert bad_request(body) == "malformed_json"


@pytest.mark.parametrize("rest", [b'"\xff"', nested(1_200), b"1e999", rb'"\ud800"', b"{"])
def test_a_wrong_field_before_something_worse_is_still_one_clear_error(rest: bytes) -> None:
    assert errors(b'{"name":1,"payload":{"x":%s}}' % rest)[0][0] == "name"


def test_the_answer_does_not_grow_with_the_request() -> None:
    body = json.dumps({f"x{number}": 1 for number in range(10_000)}).encode()
    assert len(errors(body)) < 60


def test_of_duplicate_keys_the_last_counts() -> None:
    assert decode(b'{"name":"a","name":"b"}', Job).name == "b"


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(INT64_MIN - 3, INT64_MAX + 3)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8") | st.sampled_from("\0\\u0")),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.sampled_from("ab\0\\u0")), inner, max_size=4)
    ),
    max_leaves=20,
)


def is_allowed(value: Any) -> bool:
    if isinstance(value, dict):
        return all("\0" not in key and is_allowed(item) for key, item in value.items())
    if isinstance(value, list):
        return all(map(is_allowed, value))
    if isinstance(value, str):
        return "\0" not in value
    return not isinstance(value, int) or INT64_MIN <= value <= INT64_MAX


@given(json_values, st.booleans())
def test_exactly_the_forbidden_values_are_refused(value: Any, ascii_only: bool) -> None:
    body = json.dumps(value, ensure_ascii=ascii_only).encode()
    if is_allowed(value):
        assert decode(body) == msgspec.json.decode(body)
    else:
        with pytest.raises(ValidationException):
            decode(body)


def depth_of(value: Any) -> int:
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if items is None else 1 + max(map(depth_of, items), default=0)


nests = st.recursive(
    st.text(st.sampled_from('[]{}"\\a')),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.sampled_from('[}"\\')), inner, max_size=4),
    max_leaves=20,
)


@given(nests, st.integers(0, 6))
def test_depth_is_counted_exactly(value: Any, limit: int) -> None:
    assert _is_deeper_than(limit, json.dumps(value).encode()) is (depth_of(value) > limit)
