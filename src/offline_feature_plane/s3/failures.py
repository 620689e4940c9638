"""What a failed request means: the edge at which the SDK's exceptions and the store's error codes become ours.

A request that fails may still have been carried out. So the first question about a failure is not whose fault it is, but whether it says
what the store holds now: `absent` and `taken` do, `again` says that nothing was done, `refused` that asking again is useless, and `doubt`
says nothing at all. Texts of the store are not repeated: they may quote what should stay secret.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar

from boto3.exceptions import Boto3Error
from botocore import exceptions as sdk
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

Meaning = Literal["absent", "taken", "again", "doubt", "refused"]

Result = TypeVar("Result")

_CODE: Final = re.compile(r"[A-Z][A-Za-z0-9]{2,59}")


class Unintelligible(Exception):
    """What came is no answer: the SDK tripped over it, or something is missing or damaged in it."""


FAILURES: Final = (sdk.BotoCoreError, sdk.ClientError, Boto3Error, ResponseParserError, HTTPError, Unintelligible)


def by_sdk(work: Callable[..., Result], *arguments: Any, **parameters: Any) -> Result:
    """Let the SDK do something. Raises one of FAILURES, whatever goes wrong."""
    try:
        return work(*arguments, **parameters)
    except FAILURES:
        raise
    except Exception as tripped:  # its parsers and credential providers raise whatever they trip over
        raise Unintelligible(type(tripped).__name__) from tripped


@dataclass(frozen=True)
class Verdict:
    """What a failure means, what to say about it, and what to do."""

    meaning: Meaning
    what: str
    fix: str


_RETRY: Final = "Check the store, then run the same command again."
_CREDENTIALS: Final = ("Check the credentials that the SDK finds: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, the profile that "
                       "`s3.profile` names, or the role of the machine.")
_RIGHTS: Final = ("Grant s3:ListBucket and s3:ListBucketMultipartUploads on the bucket, and s3:GetObject, PutObject, DeleteObject and "
                  "AbortMultipartUpload below the prefix.")
_CLOCK: Final = "Set this machine's clock: the store takes only requests of the last minutes."
_BUCKET: Final = "Create the bucket, or correct its name or `s3.endpoint`."
_REGION: Final = "State the region of the bucket under `s3.region`, and its address under `s3.endpoint` if it is not with AWS."
_REACH: Final = "Check `s3.endpoint`, the network, and that the server runs."
_TLS: Final = "Check the server's certificate and the scheme of `s3.endpoint`; AWS_CA_BUNDLE names an authority of your own."
_PROXY: Final = "Check HTTPS_PROXY and NO_PROXY."
_SDK: Final = "Check `s3` in plane.yaml, and the SDK's own files and variables."
_FEATURES: Final = "Use a store that knows conditional writes (`If-None-Match: *`) and uploads in parts."
_ROOM: Final = "Make room in the store, or raise its quota."

_BY_CODE: Final[Mapping[str, tuple[Meaning, str]]] = {
    **dict.fromkeys(("NoSuchKey", "NoSuchVersion"), ("absent", _RETRY)),
    "PreconditionFailed": ("taken", _RETRY),
    **dict.fromkeys(("ConditionalRequestConflict", "OperationAborted"), ("again", _RETRY)),
    # the upload is gone: somebody's clean-up, or our own completion whose answer was lost
    **dict.fromkeys(("NoSuchUpload", "BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch",
                     "IncompleteBody", "RequestTimeout", "InternalError", "ServiceUnavailable", "SlowDown", "SlowDownRead", "SlowDownWrite",
                     "Throttling", "ThrottlingException", "TooManyRequests", "RequestLimitExceeded", "BandwidthLimitExceeded",
                     "ServerBusy"), ("doubt", _RETRY)),
    **dict.fromkeys(("InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "TokenRefreshRequired",
                     "InvalidSecurity", "MissingSecurityHeader", "AuthFailure", "UnrecognizedClientException"), ("refused", _CREDENTIALS)),
    **dict.fromkeys(("AccessDenied", "AllAccessDisabled", "AccountProblem", "NotSignedUp"), ("refused", _RIGHTS)),
    **dict.fromkeys(("RequestTimeTooSkewed", "RequestExpired", "RequestNotYetValid"), ("refused", _CLOCK)),
    **dict.fromkeys(("NoSuchBucket", "InvalidBucketName"), ("refused", _BUCKET)),
    **dict.fromkeys(("PermanentRedirect", "TemporaryRedirect", "Redirect", "AuthorizationHeaderMalformed",
                     "IllegalLocationConstraintException", "InvalidRegion"), ("refused", _REGION)),
    **dict.fromkeys(("EntityTooLarge", "QuotaExceeded", "XMinioStorageFull", "InsufficientCapacity", "InsufficientStorage",
                     "TooManyParts"), ("refused", _ROOM)),
}
_BY_STATUS: Final[Mapping[int, tuple[Meaning, str]]] = {
    401: ("refused", _CREDENTIALS), 403: ("refused", _RIGHTS), 404: ("absent", _RETRY), 408: ("doubt", _RETRY), 409: ("again", _RETRY),
    412: ("taken", _RETRY), 425: ("doubt", _RETRY), 429: ("doubt", _RETRY), 501: ("refused", _FEATURES), 507: ("refused", _ROOM),
    **dict.fromkeys((301, 302, 303, 307, 308), ("refused", _REGION)),
}

_BY_CLASS: Final[tuple[tuple[tuple[type[Exception], ...], Verdict], ...]] = (
    ((sdk.SSLError,), Verdict("doubt", "there is no TLS connection to the store", _TLS)),
    ((sdk.ProxyConnectionError, sdk.InvalidProxiesConfigError), Verdict("doubt", "the proxy cannot be used", _PROXY)),
    ((sdk.EndpointConnectionError, sdk.ConnectTimeoutError, sdk.ConnectionError), Verdict("doubt", "the store cannot be reached", _REACH)),
    ((sdk.ReadTimeoutError,), Verdict("doubt", "the store did not answer in time", _REACH)),
    ((sdk.HTTPClientError, sdk.IncompleteReadError, HTTPError), Verdict("doubt", "the connection to the store broke", _RETRY)),
    ((sdk.ChecksumError, sdk.FlexibleChecksumError, ResponseParserError, sdk.PaginationError),
     Verdict("doubt", "the store's answer makes no sense", _RETRY)),
    ((sdk.NoCredentialsError, sdk.PartialCredentialsError, sdk.CredentialRetrievalError, sdk.TokenRetrievalError, sdk.NoAuthTokenError,
      sdk.UnknownTokenProviderError, sdk.UnknownCredentialError, sdk.SSOError, sdk.LoginError, sdk.MetadataRetrievalError,
      sdk.RefreshWithMFAUnsupportedError, sdk.ProfileNotFound, sdk.ConfigNotFound, sdk.ConfigParseError, sdk.InvalidConfigError,
      sdk.InvalidIMDSEndpointError, sdk.InvalidIMDSEndpointModeError),
     Verdict("refused", "the SDK has no usable credentials", _CREDENTIALS)),
    ((sdk.BaseEndpointResolverError, sdk.UnknownRegionError, sdk.InvalidRegionError, sdk.ServiceNotInRegionError),
     Verdict("refused", "the SDK finds no address for this region", _REGION)),
    ((sdk.BotoCoreError, Boto3Error), Verdict("refused", "the SDK refuses the request", _SDK)),
)


def verdict_on(wrong: Exception) -> Verdict:
    """What a failure means. Anything unknown is in doubt."""
    if isinstance(wrong, sdk.ClientError):
        return _verdict_on_answer(wrong)
    return next((verdict for classes, verdict in _BY_CLASS if isinstance(wrong, classes)),
                Verdict("doubt", "the store's answer makes no sense", _RETRY))


def code_of(wrong: Exception) -> str | None:
    """The store's own error code, if it answered with one that reads like one."""
    code = str(wrong.response.get("Error", {}).get("Code", "")) if isinstance(wrong, sdk.ClientError) else ""
    return code if _CODE.fullmatch(code) else None


def status_of(wrong: Exception) -> int:
    """The HTTP status that the store answered with; 0 if it did not answer."""
    return int(wrong.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)) if isinstance(wrong, sdk.ClientError) else 0


def _verdict_on_answer(wrong: Exception) -> Verdict:
    code, status = code_of(wrong) or "", status_of(wrong)
    meaning, fix = _BY_CODE.get(code) or _BY_STATUS.get(status) or (("refused", _SDK) if 400 <= status < 500 else ("doubt", _RETRY))
    return Verdict(meaning, f"the store answered {code} ({status})" if code else f"the store answered {status}", fix)
