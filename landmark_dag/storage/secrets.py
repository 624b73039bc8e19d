"""Keeping passwords and signatures out of what is stored, logged and shown: they come from the environment alone."""

import re
from urllib.parse import urlsplit

from landmark_dag.errors import InputError

HIDDEN = "***"

_USER = re.compile(r"(?<=//)[^/\s@'\"]+(?=@)")
_QUERY = re.compile(r"\?[^\s'\"<>]*=[^\s'\"<>)]*")


def without_secrets(text: str) -> str:
    """Return `text` with the user and the query of every URL in it hidden."""
    return _QUERY.sub(f"?{HIDDEN}", _USER.sub(HIDDEN, text))


def refuse_secrets(url: str) -> None:
    """Raise InputError, without repeating it, for a URL that carries a user, a password or a query."""
    parts = urlsplit(url)
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise InputError(
            f"The URL {without_secrets(url)} carries a user, a password or a query, which would be stored and shown; "
            "give the URL without it, and the credentials by the environment variables of the storage (such as "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY) or by ~/.netrc."
        )
