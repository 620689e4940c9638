"""What a failed request means: the edge at which the SDK's exceptions and the store's error codes become ours.

A request that fails may still have been carried out. So the first question about a failure is not whose fault it is, but whether it says
what the store holds now: `absent` and `taken` do, `again` says that nothing was done, `refused` that asking again is useless, and `doubt`
says nothing at all. Texts of the store are not repeated: they may quote what should stay secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from botocore import exceptions as sdk

from offline_feature_plane.aws import Trouble, code_of, status_of, trouble_of

Meaning = Literal["absent", "taken", "again", "doubt", "refused"]


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

_BY_TROUBLE: Final[Mapping[Trouble, Verdict]] = {
    "tls": Verdict("doubt", "there is no TLS connection to the store", _TLS),
    "proxy": Verdict("doubt", "the proxy cannot be used", _PROXY),
    "reach": Verdict("doubt", "the store cannot be reached", _REACH),
    "silence": Verdict("doubt", "the store did not answer in time", _REACH),
    "broken": Verdict("doubt", "the connection to the store broke", _RETRY),
    "nonsense": Verdict("doubt", "the store's answer makes no sense", _RETRY),
    "credentials": Verdict("refused", "the SDK has no usable credentials", _CREDENTIALS),
    "region": Verdict("refused", "the SDK finds no address for this region", _REGION),
    "sdk": Verdict("refused", "the SDK refuses the request", _SDK),
}


def verdict_on(wrong: Exception) -> Verdict:
    """What a failure means. Anything unknown is in doubt."""
    if isinstance(wrong, sdk.ClientError):
        return _verdict_on_answer(wrong)
    return _BY_TROUBLE[trouble_of(wrong)]


def _verdict_on_answer(wrong: Exception) -> Verdict:
    code, status = code_of(wrong) or "", status_of(wrong)
    meaning, fix = _BY_CODE.get(code) or _BY_STATUS.get(status) or (("refused", _SDK) if 400 <= status < 500 else ("doubt", _RETRY))
    return Verdict(meaning, f"the store answered {code} ({status})" if code else f"the store answered {status}", fix)
