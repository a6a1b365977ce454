"""What may be shown of a secret setting."""

from __future__ import annotations

import re

_HOST = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])?(:[0-9]{1,5})?", re.ASCII)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]{0,15}", re.ASCII)
MASK = "***"


def mask(secret: str) -> str:
    """Nothing of a secret but whether it is set; of a well-formed URL also its scheme, host and port."""
    scheme, separator, rest = secret.partition("://")
    if not separator or not _SCHEME.fullmatch(scheme):
        return MASK if secret else ""
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    userinfo, at, host = authority.rpartition("@")
    # An unescaped slash in a password moves the @ out of the authority: then nothing can be told apart.
    if not _HOST.fullmatch(host) or (not at and "@" in rest):
        return f"{scheme}://{MASK}"
    return f"{scheme}://{f'{MASK}@' if userinfo else ''}{host}/{MASK}"
