"""Addresses of servers in settings: never with credentials, and never repeated."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator

__all__ = ["Endpoint"]


def _endpoint(text: str) -> str:
    """No part of it is repeated: it may hold a password."""
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if host is None or parts.scheme not in {"http", "https"}:
        raise ValueError("this is not the address of a server; write for example https://s3.example.org:9000")
    if parts.query or parts.fragment or "@" in text:
        raise ValueError("the address of a server has no credentials, no query and no fragment; give credentials by reference: "
                         "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile")
    return text


Endpoint = Annotated[str, AfterValidator(_endpoint)]
