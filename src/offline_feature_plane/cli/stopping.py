"""How a request to terminate reaches whatever is running."""

from __future__ import annotations


class Terminated(BaseException):
    """This process received a request to terminate."""
