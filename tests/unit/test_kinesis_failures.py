"""Whatever the SDK raises and whatever a stream answers becomes an error of ours, with a code and what to do, and repeats no secret."""

import inspect

import botocore.session
import pytest
from botocore import exceptions as sdk

from offline_feature_plane.aws import FAILURES, Unintelligible
from offline_feature_plane.errors import EventBusUnavailable, OfsError, all_codes
from offline_feature_plane.sources.kinesis.failures import _BY_CODE, explain, may_pass, meaning_of

CANARY = "canary-AKIA-secret"
ASKED = ("DescribeStreamSummary", "ListShards", "GetShardIterator", "GetRecords")
MODEL = botocore.session.get_session().get_service_model("kinesis")
ANSWERS = sorted({shape.name for name in ASKED for shape in MODEL.operation_model(name).error_shapes})
CLASSES = [one for _, one in inspect.getmembers(sdk, inspect.isclass)
           if issubclass(one, sdk.BotoCoreError) and not issubclass(one, sdk.ClientError)]


def answered(code, status=400):
    """An answer of the service."""
    return sdk.ClientError({"Error": {"Code": code, "Message": CANARY}, "ResponseMetadata": {"HTTPStatusCode": status}}, "GetRecords")


def check(found):
    """A stable code, a place, one sentence and advice; and nothing of what the service wrote."""
    assert isinstance(found, OfsError)
    assert all_codes()[found.code] is type(found)
    assert (found.path, bool(found.fix)) == ("payments/0", True)
    assert CANARY not in f"{found} {found.fields}"


@pytest.mark.parametrize("code", ANSWERS)
def test_every_refusal_that_the_service_declares_is_known(code):
    """What may pass is told apart from what needs somebody; nothing declared is unknown."""
    assert code in _BY_CODE
    found = explain(answered(code), "payments/0", reached="5")
    check(found)
    assert found.fields["reached"] == "5"
    assert found.transient == (meaning_of(answered(code)) in {"again", "expired"})


@pytest.mark.parametrize("failure", CLASSES, ids=lambda one: one.__name__)
def test_every_failure_of_the_sdk_is_an_error_of_ours(failure):
    """The whole tree of its exceptions: what is unreachable may pass, what is wrong here does not."""
    wrong = failure.__new__(failure)  # most want to be told more than their name
    assert isinstance(wrong, FAILURES)
    check(explain(wrong, "payments/0"))


@pytest.mark.parametrize(("wrong", "passes"), [
    (answered("Whatever", 500), True), (answered("Whatever", 503), True), (answered("Whatever", 429), True),
    (answered("Whatever", 404), False), (answered("<b>", 400), False),
    (sdk.EndpointConnectionError(endpoint_url="x"), True), (sdk.ReadTimeoutError(endpoint_url="x"), True),
    (sdk.NoCredentialsError(), False), (sdk.NoRegionError(), False), (Unintelligible("x"), True)])
def test_only_what_may_pass_is_asked_again(wrong, passes):
    """An unknown refusal is told as it is; an unknown failure of the server may pass."""
    assert may_pass(wrong) == passes
    found = explain(wrong, "payments/0")
    check(found)
    assert isinstance(found, EventBusUnavailable) == (meaning_of(wrong) != "region")
