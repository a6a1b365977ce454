"""Where notifications go: the endpoints of the settings, checked before anything is sent to them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

import httpcore
import httpx

from app.core.deliveries import Event
from app.core.errors import InvalidInput
from app.core.events import NOTIFIED
from app.webhooks import discord, payloads, signing, slack

EndpointKind = Literal["discord", "slack", "custom"]

MAX_URL = 2048
_BUILD = {"discord": discord.build, "slack": slack.build, "custom": payloads.build}
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,79}", re.ASCII)
_HOST = re.compile(
    rb"(?=.{1,254}\Z)[a-z0-9_][a-z0-9_-]{0,62}(?:\.[a-z0-9_][a-z0-9_-]{0,62})*\.?|(?=.*:)[0-9a-f:.]{2,45}"
)


@dataclass(frozen=True)
class Endpoint:
    """A receiver. URL and secret are credentials: they are in no repr, no log and no error.

    ``name``: unique, lower case, what deliveries are stored under. ``secret``: ``whsec_…``, needed for
    custom ones and refused for others; two separated by a space, the new one first, while rotating.
    ``events``: the kinds wanted, empty for every notified kind. Raises InvalidInput, naming the endpoint
    and the field, on anything that cannot work.
    """

    name: str
    kind: EndpointKind
    url: str = field(repr=False)
    secret: str = field(default="", repr=False)
    events: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        self._check_name()
        if self.kind not in get_args(EndpointKind):
            raise self._bad("kind", f"kind must be one of {', '.join(get_args(EndpointKind))}")
        self._check_url()
        self._check_secret()
        unknown = self.events - NOTIFIED
        if unknown:
            known = ", ".join(sorted(NOTIFIED))
            raise self._bad(
                "events",
                f"{', '.join(sorted(unknown))}: not an event receivers are told of; known are {known}",
            )

    def wants(self, kind: str) -> bool:
        """Whether events of ``kind`` go to this endpoint."""
        return kind in (self.events or NOTIFIED)

    @property
    def secrets(self) -> list[str]:
        return self.secret.split()

    def target(self) -> httpcore.URL:
        """The URL as the HTTP client takes it: host in IDNA form, path percent-encoded."""
        url = httpx.URL(self.url)
        return httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)

    def body(self, event: Event) -> bytes:
        """What this receiver is sent of an event."""
        return _BUILD[self.kind](event)

    def headers(self) -> Mapping[str, str]:
        """What is sent along besides the signature."""
        return {}

    def _check_name(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InvalidInput(
                "a webhook endpoint's name must be 1 to 80 of a-z, 0-9, - and _, and not begin with a sign",
                field="name",
            )

    def _check_url(self) -> None:
        if not 0 < len(self.url) <= MAX_URL:
            raise self._bad("url", f"the URL must have 1 to {MAX_URL} characters")
        try:
            url = httpx.URL(self.url)
        except httpx.InvalidURL:
            raise self._bad("url", "the URL cannot be read; expected https://host/path") from None
        if url.scheme not in ("http", "https"):
            raise self._bad("url", "the URL must begin with https:// or http://")
        if url.userinfo:
            raise self._bad("url", "the URL must not carry credentials (user:password@)")
        if not _HOST.fullmatch(url.raw_host):
            raise self._bad("url", "the URL has no valid host")
        if url.port is not None and not 0 < url.port < 65536:
            raise self._bad("url", "the URL's port must be 1 to 65535")
        if url.fragment:
            raise self._bad("url", "the URL must not have a fragment (#…)")

    def _check_secret(self) -> None:
        if self.kind != "custom":
            if self.secret:
                raise self._bad("secret", f"{self.kind} endpoints are not signed; leave the secret out")
            return
        if not self.secrets:
            raise self._bad("secret", "custom endpoints need a secret: whsec_ and the base64 of 24 to 64 random bytes")
        for secret in self.secrets:
            try:
                signing.decode_secret(secret)
            except InvalidInput as error:
                raise self._bad("secret", error.detail) from None

    def _bad(self, field_name: str, detail: str) -> InvalidInput:
        return InvalidInput(f"webhook endpoint {self.name!r}: {detail}", field=field_name)
