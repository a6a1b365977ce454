"""Endpoints named in the settings."""

from __future__ import annotations

from app.core.errors import InvalidInput
from app.settings import WebhooksSettings
from app.webhooks.endpoints import Endpoint


def endpoints_from(settings: WebhooksSettings) -> list[Endpoint]:
    """Discord and Slack by their short settings, then those listed; InvalidInput on a bad or doubled one."""
    found = []
    if settings.discord:
        found.append(Endpoint("discord", "discord", settings.discord))
    if settings.slack:
        found.append(Endpoint("slack", "slack", settings.slack))
    listed = settings.endpoints
    found += [Endpoint(one.name, one.kind, one.url, one.secret, frozenset(one.events)) for one in listed]
    names = [endpoint.name for endpoint in found]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        # Deliveries are kept by endpoint name: two of one name would get half of the events each.
        raise InvalidInput(f"webhook endpoints of the same name: {', '.join(doubled)}", field="name")
    return found
