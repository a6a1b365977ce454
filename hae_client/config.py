"""Where the server is and who calls it: from arguments, else from the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from hae_client.errors import InvalidArgument

URL_VARIABLE = "HYPERNODE_API_URL"
KEY_VARIABLE = "HYPERNODE_API_KEY"
LOCAL_URL = "http://127.0.0.1:3002"
"""Where `hae up` serves."""


@dataclass(frozen=True, slots=True)
class Access:
    """``url`` ends without a slash. The key is not shown by ``repr``."""

    url: str
    key: str = field(repr=False)

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"} if self.key else {}


def access(url: str | None = None, key: str | None = None) -> Access:
    """What is given, else HYPERNODE_API_URL (else the local server's address) and HYPERNODE_API_KEY (else no key).

    Raises InvalidArgument for a URL that is none, and for a key that cannot be one, without quoting that.
    """
    url = (os.environ.get(URL_VARIABLE, "") if url is None else url).strip().rstrip("/") or LOCAL_URL
    key = (os.environ.get(KEY_VARIABLE, "") if key is None else key).strip()
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable:
        raise InvalidArgument(f"the server's URL must be such as https://hypernode.example, not {url[:200]!r}")
    if parts.query or parts.fragment or parts.username is not None:
        raise InvalidArgument("the server's URL must be without a user, a query and a fragment")
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise InvalidArgument("the API key holds characters that no key has; check how it was copied")
    return Access(url, key)
