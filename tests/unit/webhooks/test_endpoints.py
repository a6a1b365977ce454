from __future__ import annotations

from typing import Any

import pytest

from app.core.errors import InvalidInput
from app.core.events import NOTIFIED, EventKind
from app.webhooks.endpoints import Endpoint

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
URL = "https://hooks.example/services/T0/B0/s3cr3t"


def custom(**change: Any) -> Endpoint:
    return Endpoint(**{"name": "ops", "kind": "custom", "url": URL, "secret": SECRET} | change)


def test_credentials_are_in_no_repr() -> None:
    shown = repr(custom()) + str(custom())
    assert "s3cr3t" not in shown
    assert "hooks.example" not in shown
    assert "MfKQ9r8G" not in shown


def test_no_events_named_means_all_notified() -> None:
    assert all(custom().wants(kind) for kind in NOTIFIED)
    assert not custom().wants(EventKind.JOB_PROGRESS)
    some = custom(events=frozenset({"job_failed"}))
    assert some.wants("job_failed")
    assert not some.wants("job_completed")


@pytest.mark.parametrize(
    ("url", "host", "port", "target"),
    [
        ("https://hooks.example", b"hooks.example", None, b"/"),
        ("HTTPS://Hooks.Example:8443/a?b=c", b"hooks.example", 8443, b"/a?b=c"),
        ("http://127.0.0.1:9/x", b"127.0.0.1", 9, b"/x"),
        ("http://[2606:4700::1111]/x", b"2606:4700::1111", None, b"/x"),
        ("https://bücher.example/ä", b"xn--bcher-kva.example", None, b"/%C3%A4"),
        ("https://a_b.example./", b"a_b.example.", None, b"/"),
    ],
)
def test_good_urls(url: str, host: bytes, port: int | None, target: bytes) -> None:
    found = custom(url=url).target()
    assert (found.host, found.port, found.target) == (host, port, target)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "characters"),
        ("https://hooks.example/" + "x" * 2048, "characters"),
        ("hooks.example/x", "https://"),
        ("//hooks.example/x", "https://"),
        ("ftp://hooks.example/x", "https://"),
        ("file:///etc/passwd", "https://"),
        ("gopher://hooks.example", "https://"),
        ("javascript:alert(1)", "https://"),
        ("unix:///run/x.sock", "https://"),
        ("https://user@hooks.example/", "credentials"),
        ("https://user:pass@hooks.example/", "credentials"),
        ("https://hooks.example\\@127.0.0.1/", "credentials"),
        ("https:///x", "host"),
        ("https://hooks example/", "host"),
        ("https://%31%32%37.0.0.1/", "host"),
        ("https://ex%00ample/", "host"),
        ("https://a..b/", "host"),
        ("https://.example/", "host"),
        ("https://[fe80::1%25eth0]/", "host"),
        ("https://" + "a" * 64 + ".example/", "host"),
        ("https://" + "abcdefgh." * 30 + "example/", "host"),
        ("https://hooks.example:0/", "port"),
        ("https://hooks.example:65536/", "port"),
        ("https://hooks.example:x/", "read"),
        ("https://[::1/", "read"),
        ("https://①②⑦.0.0.1/", "read"),
        ("https://0177.0.0.1/", "read"),
        ("https://256.1.1.1/", "read"),
        ("https://hooks.example/\r\nX-Evil: 1", "read"),
        ("https://hooks.example/\x00", "read"),
        ("https://hooks.example/#token", "fragment"),
    ],
)
def test_bad_urls_are_refused_without_being_quoted(url: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says) as caught:
        custom(url=url)
    assert caught.value.field == "url"
    assert "'ops'" in caught.value.detail
    assert not url or url not in caught.value.detail


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "Ops"}, "name"),
        ({"name": "a" * 81}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"kind": "teams"}, "kind"),
        ({"secret": ""}, "secret"),
        ({"secret": "hunter2"}, "secret"),
        ({"secret": f"{SECRET} hunter2"}, "secret"),
        ({"kind": "slack"}, "secret"),
        ({"kind": "discord"}, "secret"),
        ({"events": frozenset({"job_done"})}, "events"),
        ({"events": frozenset({"job_progress"})}, "events"),
    ],
)
def test_other_bad_settings(change: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        custom(**change)
    assert caught.value.field == field
    assert "hunter2" not in caught.value.detail


def test_two_secrets_while_rotating() -> None:
    assert custom(secret=f"{SECRET} {SECRET[::1]}").secrets == [SECRET, SECRET]
