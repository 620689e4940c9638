"""Whatever the SDK raises and whatever a store answers has a meaning, a sentence and an advice, and repeats no secret."""

from __future__ import annotations

import string
import subprocess
import sys
from typing import Any, get_args

import boto3.exceptions
import pytest
import urllib3.exceptions
from botocore import exceptions as sdk
from botocore.parsers import ResponseParserError
from s3_servers import place_at

from offline_feature_plane.aws import Unintelligible, by_sdk
from offline_feature_plane.errors import RefNotFound, StorageIoFailure
from offline_feature_plane.s3.bucket import ATTEMPTS, Bucket
from offline_feature_plane.s3.failures import Meaning, verdict_on
from offline_feature_plane.testing.asking import ManualClock

CANARY = "canary-AKIA-secret"


def _below(kind: type) -> list[type]:
    return [kind, *(found for one in kind.__subclasses__() for found in _below(one))]


def _raised(kind: Any) -> Exception:
    """An instance of a class of the SDK's, every field of which holds the canary."""
    if issubclass(kind, sdk.ClientError):
        return kind(answered(CANARY, 400).response, CANARY)
    if issubclass(kind, sdk.BotoCoreError) and "__init__" not in vars(kind):
        names = {name for _, name, _, _ in string.Formatter().parse(kind.fmt) if name}
        return kind(**dict.fromkeys(names, CANARY))
    return kind.__new__(kind, CANARY)


def answered(code: str, status: int) -> sdk.ClientError:
    """A store's answer, as the SDK raises it."""
    return sdk.ClientError({"Error": {"Code": code, "Message": CANARY}, "ResponseMetadata": {"HTTPStatusCode": status}}, "PutObject")


ROOTS = (sdk.BotoCoreError, sdk.ClientError, boto3.exceptions.Boto3Error, ResponseParserError, urllib3.exceptions.HTTPError)
EVERYTHING = sorted({one for root in ROOTS for one in _below(root)}, key=lambda one: (one.__module__, one.__name__))


@pytest.mark.parametrize("kind", EVERYTHING, ids=lambda one: f"{one.__module__}.{one.__name__}")
def test_every_exception_of_the_sdk_has_a_meaning(kind: type) -> None:
    """The whole tree of the SDK's exceptions is mapped, with a sentence and an advice of ours and nothing of what the exception says."""
    def fail() -> None:
        raise raised

    raised = _raised(kind)
    with pytest.raises(kind):
        by_sdk(fail)
    verdict = verdict_on(raised)
    assert verdict.meaning in get_args(Meaning)
    assert verdict.meaning in {"doubt", "refused"}  # no exception says what the store holds
    assert verdict.fix
    assert CANARY not in verdict.what + verdict.fix


def test_the_tree_is_the_whole_tree() -> None:
    """The walk finds what is known to be there, so that it cannot pass by finding nothing."""
    assert {sdk.ReadTimeoutError, sdk.SSLError, sdk.NoCredentialsError, sdk.UnauthorizedSSOTokenError, sdk.ClientError} <= set(EVERYTHING)
    assert len(EVERYTHING) > 120


@pytest.mark.parametrize(("kind", "meaning", "words"), [
    (sdk.EndpointConnectionError, "doubt", "s3.endpoint"), (sdk.ConnectTimeoutError, "doubt", "s3.endpoint"),
    (sdk.ReadTimeoutError, "doubt", "s3.endpoint"), (sdk.ConnectionClosedError, "doubt", "again"),
    (sdk.ResponseStreamingError, "doubt", "again"), (sdk.IncompleteReadError, "doubt", "again"), (sdk.SSLError, "doubt", "certificate"),
    (sdk.ProxyConnectionError, "doubt", "HTTPS_PROXY"), (sdk.NoCredentialsError, "refused", "AWS_ACCESS_KEY_ID"),
    (sdk.PartialCredentialsError, "refused", "AWS_ACCESS_KEY_ID"), (sdk.ProfileNotFound, "refused", "s3.profile"),
    (sdk.UnauthorizedSSOTokenError, "refused", "s3.profile"), (sdk.NoRegionError, "refused", "s3.region"),
    (sdk.ParamValidationError, "refused", "plane.yaml"), (Unintelligible, "doubt", "again"),
])
def test_each_kind_of_trouble_has_its_own_advice(kind: type, meaning: str, words: str) -> None:
    """Unreachable, silent, broken, without TLS, without credentials, without a region: each says where to look."""
    verdict = verdict_on(_raised(kind))
    assert verdict.meaning == meaning
    assert words in verdict.fix


@pytest.mark.parametrize(("code", "status", "meaning", "words"), [
    ("NoSuchKey", 404, "absent", ""), ("PreconditionFailed", 412, "taken", ""), ("ConditionalRequestConflict", 409, "again", ""),
    ("OperationAborted", 409, "again", ""), ("SlowDown", 503, "doubt", ""), ("ServiceUnavailable", 503, "doubt", ""),
    ("InternalError", 500, "doubt", ""), ("InternalError", 200, "doubt", ""), ("RequestTimeout", 400, "doubt", ""),
    ("BadDigest", 400, "doubt", ""), ("XAmzContentSHA256Mismatch", 400, "doubt", ""), ("IncompleteBody", 400, "doubt", ""),
    ("NoSuchUpload", 404, "doubt", ""), ("TooManyRequests", 429, "doubt", ""), ("", 502, "doubt", ""), ("", 0, "doubt", ""),
    ("AccessDenied", 403, "refused", "PutObject"), ("403", 403, "refused", "PutObject"),
    ("InvalidAccessKeyId", 403, "refused", "credentials"), ("SignatureDoesNotMatch", 403, "refused", "credentials"),
    ("ExpiredToken", 400, "refused", "credentials"), ("RequestTimeTooSkewed", 403, "refused", "clock"),
    ("NoSuchBucket", 404, "refused", "bucket"), ("PermanentRedirect", 301, "refused", "s3.region"), ("", 307, "refused", "s3.region"),
    ("AuthorizationHeaderMalformed", 400, "refused", "s3.region"), ("NotImplemented", 501, "refused", "conditional writes"),
    ("EntityTooLarge", 400, "refused", "room"), ("InvalidArgument", 400, "refused", "plane.yaml"), ("Teapot", 418, "refused", ""),
])
def test_each_answer_has_its_meaning(code: str, status: int, meaning: str, words: str) -> None:
    """What a store answers, by code or by status, says what it holds, or whether asking again helps; its text is not repeated."""
    verdict = verdict_on(answered(code, status))
    assert verdict.meaning == meaning
    assert words in verdict.fix
    assert str(status) in verdict.what
    assert CANARY not in verdict.what + verdict.fix


@pytest.mark.parametrize(("wrong", "attempts"), [(answered("SlowDown", 503), ATTEMPTS), (answered("AccessDenied", 403), 1),
                                                 (answered(CANARY, 400), 1),
                                                 (sdk.ConnectionClosedError(endpoint_url="u"), ATTEMPTS), (RuntimeError("x"), ATTEMPTS)])
def test_asking_again_is_bounded_and_waits_longer_each_time(wrong: Exception, attempts: int) -> None:
    """What may pass is asked for five times, with growing pauses that differ between keys; what is refused is asked for once."""
    class Client:
        asked = 0

        def get_object(self, **_: Any) -> None:
            self.asked += 1
            raise wrong

    class Waiting(ManualClock):
        def __init__(self) -> None:
            super().__init__()
            self.waits: list[int] = []

        def sleep_us(self, span_us: int) -> None:
            self.waits.append(span_us)

    waits = []
    for key in ("a", "b"):
        client, clock = Client(), Waiting()
        with pytest.raises(StorageIoFailure) as failed:
            Bucket(client, place_at("http://127.0.0.1:1"), clock).digest(key)
        assert client.asked == attempts
        assert CANARY not in str(failed.value) + str(failed.value.describe())
        assert clock.waits == sorted(clock.waits)
        waits.append(clock.waits)
    if attempts > 1:
        assert waits[0] != waits[1]
        assert 1_000_000 < sum(waits[0]) < 10_000_000


def test_absent_is_for_readers_only() -> None:
    """Nothing that is written can be "not found": a writer is told that the store failed."""
    class Client:
        def get_object(self, **_: Any) -> None:
            raise answered("NoSuchKey", 404)

        put_object = get_object

    bucket = Bucket(Client(), place_at("http://127.0.0.1:1"), ManualClock())
    with pytest.raises(RefNotFound):
        bucket.read("a", 10)
    with pytest.raises(StorageIoFailure):
        bucket.create("a", "sha256:" + "0" * 64, lambda: bucket.put("a", b"", "sha256:" + "0" * 64))


def test_a_plane_on_a_disk_needs_no_sdk() -> None:
    """The SDK is loaded when a store is in a bucket, and only then."""
    code = ("import sys, pathlib, offline_feature_plane.plane as p; from offline_feature_plane.settings import settings_from;"
            "p.Plane(settings_from({'plane': 'x'}, pathlib.Path('.')), pathlib.Path('.')).store;"
            "print(*{'boto3', 'botocore', 'urllib3'} & set(sys.modules))")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == ""
