from __future__ import annotations

from base64 import b64encode

from app.demo.ledger import emitted

OURS, OTHER, TOKEN = "Ours1111", "Other111", "Token111"


def said(data: bytes) -> str:
    return f"Program data: {b64encode(data).decode()}"


def test_events_are_known_by_their_place() -> None:
    logs = [
        f"Program {OTHER} invoke [1]",
        said(b"not ours"),
        f"Program {OTHER} success",
        f"Program {OURS} invoke [1]",
        said(b"first"),
        f"Program {TOKEN} invoke [2]",
        f"Program {TOKEN} consumed 3 of 200000 compute units",
        f"Program {TOKEN} success",
        f"Program {OURS} invoke [2]",
        said(b"inner"),
        f"Program {OURS} success",
        said(b"second"),
        f"Program {OURS} success",
        f"Program {OTHER} invoke [1]",
        f"Program {OURS} invoke [2]",
        said(b"called"),
        f"Program {OURS} success",
        f"Program {OTHER} failed: custom program error: 0x1",
    ]
    assert list(emitted("sig", logs, {OURS})) == [
        (("sig", OURS, 1, -1, 0), b"first"),
        (("sig", OURS, 1, 1, 0), b"inner"),
        (("sig", OURS, 1, -1, 1), b"second"),
        (("sig", OURS, 2, 0, 0), b"called"),
    ]
