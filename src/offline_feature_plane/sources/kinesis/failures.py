"""What a failed request to a stream means: the edge at which the SDK's exceptions and the service's error codes become ours.

Whatever may pass is asked again, and becomes an error only when the stream was silent for too long. Texts of the service are not repeated.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from botocore import exceptions as sdk

from offline_feature_plane.aws import Trouble, code_of, status_of, trouble_of
from offline_feature_plane.errors import EventBusUnavailable, OfsError, SettingsInvalid, SourceUnreadable

Meaning = Literal["again", "expired", "position", "missing", "identity", "rights", "key", "tls", "proxy", "region", "settings", "other"]

_BY_CODE: Final[Mapping[str, Meaning]] = {
    **dict.fromkeys(("ProvisionedThroughputExceededException", "LimitExceededException", "KMSThrottlingException", "ThrottlingException",
                     "Throttling", "RequestLimitExceeded", "TooManyRequestsException", "InternalFailureException", "InternalFailure",
                     "InternalServerError", "ServiceUnavailableException", "ServiceUnavailable", "RequestTimeout",
                     "RequestTimeoutException", "SlowDown", "ResourceInUseException", "ExpiredNextTokenException"), "again"),
    "ExpiredIteratorException": "expired",
    **dict.fromkeys(("InvalidArgumentException", "ValidationException"), "position"),
    "ResourceNotFoundException": "missing",
    **dict.fromkeys(("UnrecognizedClientException", "InvalidClientTokenId", "InvalidSignatureException", "SignatureDoesNotMatch",
                     "IncompleteSignature", "IncompleteSignatureException", "MissingAuthenticationToken",
                     "MissingAuthenticationTokenException", "ExpiredToken", "ExpiredTokenException", "RequestExpired"), "identity"),
    **dict.fromkeys(("AccessDenied", "AccessDeniedException", "NotAuthorized", "OptInRequired", "DryRunOperationException"), "rights"),
    **dict.fromkeys(("KMSAccessDeniedException", "KMSDisabledException", "KMSInvalidStateException", "KMSNotFoundException",
                     "KMSOptInRequired"), "key"),
}
_BY_TROUBLE: Final[Mapping[Trouble, Meaning]] = {
    "tls": "tls", "proxy": "proxy", "reach": "again", "silence": "again", "broken": "again", "nonsense": "again",
    "credentials": "identity", "region": "region", "sdk": "settings"}

_AWAY: Final = "Check `region` and `endpoint` of this entry, the network, and that the stream is not read by too many at once."
_RIGHTS: Final = ("Grant it kinesis:DescribeStreamSummary, kinesis:ListShards, kinesis:GetShardIterator and kinesis:GetRecords on the "
                  "stream.")
_CREDENTIALS: Final = ("Check the credentials that the SDK finds (the variables AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, the profile "
                       "that `profile` names, or the role of the machine), and this machine's clock.")
_ERRORS: Final[Mapping[Meaning, tuple[type[OfsError], str, str]]] = {
    "again": (EventBusUnavailable, "the stream cannot be reached, or does not answer", _AWAY),
    "expired": (EventBusUnavailable, "the stream forgot where we were", _AWAY),
    "position": (SourceUnreadable, "the stream does not know this place", "Tell us which server it is, if it is not Amazon's."),
    "missing": (SourceUnreadable, "there is no such stream or shard", "Correct `stream`, `region` or `endpoint` of this entry."),
    "identity": (EventBusUnavailable, "the service does not know this account",
                 _CREDENTIALS),
    "rights": (EventBusUnavailable, "the account may not do this",
               _RIGHTS),
    "key": (EventBusUnavailable, "the key that the stream is encrypted with cannot be used",
            "Enable the key, and grant the account kms:Decrypt on it."),
    "tls": (EventBusUnavailable, "no safe connection to the stream could be made",
            "Check the server's certificate and the scheme of `endpoint`; AWS_CA_BUNDLE names an authority of your own."),
    "proxy": (EventBusUnavailable, "the proxy cannot be used", "Check HTTPS_PROXY and NO_PROXY."),
    "region": (SettingsInvalid, "no address is known for the region", "State `region` of this entry, or the stream by its ARN."),
    "settings": (SettingsInvalid, "the SDK refuses the request", "Check this entry, and the SDK's own files and variables."),
    "other": (EventBusUnavailable, "the service refused", "Check this entry, and the service's own log."),
}
_MAY_PASS: Final = frozenset({"again", "expired"})


def meaning_of(wrong: Exception) -> Meaning:
    """What a failure means for somebody who reads."""
    if isinstance(wrong, sdk.NoRegionError):
        return "region"
    if not isinstance(wrong, sdk.ClientError):
        return _BY_TROUBLE[trouble_of(wrong)]
    status = status_of(wrong)
    return _BY_CODE.get(code_of(wrong) or "") or ("again" if status >= 500 or status in {0, 408, 425, 429} else "other")


def may_pass(wrong: Exception) -> bool:
    """Is it worth asking again?"""
    return meaning_of(wrong) == "again"


def explain(wrong: Exception, place: str, **fields: Any) -> OfsError:
    """The error of ours that it is.

    Args:
        wrong: one of `aws.FAILURES`.
        place: what was read: stream, with shard where it is known; or where plane.yaml says how it is reached.
        fields: for machines, beside the service's own code.
    """
    meaning = meaning_of(wrong)
    kind, what, fix = _ERRORS[meaning]
    if meaning == "missing":
        fields = {**fields, "absent": "topic"}
    found = kind(f"{what} ({words_of(wrong)}).", fix=fix, path=place, answer=code_of(wrong), cause=type(wrong).__name__, **fields)
    if kind is EventBusUnavailable:
        found.transient = meaning in _MAY_PASS
    return found


def words_of(wrong: Exception) -> str:
    """The service's own code, or the SDK's name of the failure."""
    return code_of(wrong) or (f"status {status_of(wrong)}" if status_of(wrong) else type(wrong).__name__)
