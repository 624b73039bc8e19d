"""Keeping passwords and signatures out of files, logs and messages: they come only from the environment."""

import re
from urllib.parse import urlsplit

from landmark_dag.errors import InputError

HIDDEN = "***"

_USER = re.compile(r"(?<=//)[^/\s@'\"]+(?=@)")
_QUERY = re.compile(r"\?[^\s'\"<>]*=[^\s'\"<>)]*")


def without_secrets(text: str) -> str:
    """Return `text` with the user and the query of every URL replaced by `HIDDEN`."""
    return _QUERY.sub(f"?{HIDDEN}", _USER.sub(HIDDEN, text))


def refuse_secrets(url: str) -> None:
    """Raise InputError for a URL with a user, a password or a query; the message does not repeat them."""
    parts = urlsplit(url)
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise InputError(
            f"The URL {without_secrets(url)} carries a user, a password or a query, which would be stored and shown; "
            "give the URL without it, and put the credentials into the environment variables of the storage (such as "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY) or into ~/.netrc."
        )
