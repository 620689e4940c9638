"""What the SDK for S3 and Kinesis raises, whatever service is asked: only adapters that need the SDK load this.

Each service has its own error codes, and its own words for them; how an answer fails to come is the same for all.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, Literal, TypeVar

from boto3.exceptions import Boto3Error
from botocore import exceptions as sdk
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

__all__ = ["FAILURES", "Trouble", "Unintelligible", "by_sdk", "code_of", "status_of", "trouble_of"]

# Why there is no answer: no TLS, no proxy, nobody there, none in time, one that broke off, one that makes no sense; nobody knows who we
# are, there is no address for the region, or the SDK refuses to ask.
Trouble = Literal["tls", "proxy", "reach", "silence", "broken", "nonsense", "credentials", "region", "sdk"]

Result = TypeVar("Result")

_CODE: Final = re.compile(r"[A-Z][A-Za-z0-9]{2,59}")


class Unintelligible(Exception):
    """What came is no answer: the SDK tripped over it, or something is missing or damaged in it."""


FAILURES: Final = (sdk.BotoCoreError, sdk.ClientError, Boto3Error, ResponseParserError, HTTPError, Unintelligible)

_BY_CLASS: Final[tuple[tuple[tuple[type[Exception], ...], Trouble], ...]] = (
    ((sdk.SSLError,), "tls"),
    ((sdk.ProxyConnectionError, sdk.InvalidProxiesConfigError), "proxy"),
    ((sdk.EndpointConnectionError, sdk.ConnectTimeoutError, sdk.ConnectionError), "reach"),
    ((sdk.ReadTimeoutError,), "silence"),
    ((sdk.HTTPClientError, sdk.IncompleteReadError, HTTPError), "broken"),
    ((sdk.ChecksumError, sdk.FlexibleChecksumError, ResponseParserError, sdk.PaginationError), "nonsense"),
    ((sdk.NoCredentialsError, sdk.PartialCredentialsError, sdk.CredentialRetrievalError, sdk.TokenRetrievalError, sdk.NoAuthTokenError,
      sdk.UnknownTokenProviderError, sdk.UnknownCredentialError, sdk.SSOError, sdk.LoginError, sdk.MetadataRetrievalError,
      sdk.RefreshWithMFAUnsupportedError, sdk.ProfileNotFound, sdk.ConfigNotFound, sdk.ConfigParseError, sdk.InvalidConfigError,
      sdk.InvalidIMDSEndpointError, sdk.InvalidIMDSEndpointModeError), "credentials"),
    ((sdk.BaseEndpointResolverError, sdk.UnknownRegionError, sdk.InvalidRegionError, sdk.ServiceNotInRegionError), "region"),
    ((sdk.BotoCoreError, Boto3Error), "sdk"),
)


def by_sdk(work: Callable[..., Result], *arguments: Any, **parameters: Any) -> Result:
    """Let the SDK do something. Raises one of FAILURES, whatever goes wrong."""
    try:
        return work(*arguments, **parameters)
    except FAILURES:
        raise
    except Exception as tripped:  # its parsers and credential providers raise whatever they trip over
        raise Unintelligible(type(tripped).__name__) from tripped


def trouble_of(wrong: Exception) -> Trouble:
    """Why there is no answer. What nobody knows makes no sense."""
    return next((trouble for classes, trouble in _BY_CLASS if isinstance(wrong, classes)), "nonsense")


def code_of(wrong: Exception) -> str | None:
    """The service's own error code, if it answered with one that reads like one."""
    code = str(wrong.response.get("Error", {}).get("Code", "")) if isinstance(wrong, sdk.ClientError) else ""
    return code if _CODE.fullmatch(code) else None


def status_of(wrong: Exception) -> int:
    """The HTTP status of an answer that is a refusal; 0 if there was no answer."""
    return int(wrong.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)) if isinstance(wrong, sdk.ClientError) else 0
