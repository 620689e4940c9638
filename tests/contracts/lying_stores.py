"""Stores that lie, each in its own way: what stands between a client and an honest server that checks no signatures."""

from __future__ import annotations

import itertools

from offline_feature_plane.testing.fault_proxy import Between, Forward
from offline_feature_plane.testing.object_requests import Answer, Request

OK = Answer(200, (("ETag", '"0"'),))
ABSENT = Answer.error(404, "NoSuchKey")
CONDITION = ("if-none-match",)


def ignores_the_condition(request: Request, forward: Forward) -> Answer:
    """It takes `If-None-Match` and does as if it were not there."""
    return forward(request.changed(without=CONDITION))


def ignores_it_when_joining(request: Request, forward: Forward) -> Answer:
    """It ignores the condition for objects that come in parts."""
    return forward(request.changed(without=CONDITION) if request.operation == "CompleteMultipartUpload" else request)


def ignores_it_for_whole_objects(request: Request, forward: Forward) -> Answer:
    """It ignores the condition for objects that come in one piece."""
    return forward(request.changed(without=CONDITION) if request.operation == "PutObject" else request)


def overwrites_and_denies_it(request: Request, forward: Forward) -> Answer:
    """It answers that there is an object, and overwrites it."""
    answer = forward(request)
    if answer.status == 412:
        forward(request.changed(without=CONDITION))
    return answer


def keeps_the_first_and_says_created(request: Request, forward: Forward) -> Answer:
    """It keeps the first object and tells the second writer that it has won."""
    answer = forward(request)
    return OK if answer.status == 412 and request.operation == "PutObject" else answer


def acknowledges_and_forgets(request: Request, forward: Forward) -> Answer:
    """It takes objects and keeps none."""
    return OK if request.operation == "PutObject" and request.body is not None else forward(request)


def returns_zeros(request: Request, forward: Forward) -> Answer:
    """It gives other bytes, as many as were put."""
    answer = forward(request)
    return _stripped(answer, bytes(len(answer.body))) if request.operation == "GetObject" and answer.status < 300 else answer


def returns_zeros_under_the_old_digest(request: Request, forward: Forward) -> Answer:
    """The same, beside the digest that was put with them."""
    answer = forward(request)
    return Answer(200, answer.headers, bytes(len(answer.body))) if request.operation == "GetObject" and answer.status < 300 else answer


def drops_the_last_byte(request: Request, forward: Forward) -> Answer:
    """It gives all bytes but one."""
    answer = forward(request)
    return _stripped(answer, answer.body[:-1]) if request.operation == "GetObject" and answer.status < 300 else answer


def has_whatever_is_asked_for(request: Request, forward: Forward) -> Answer:
    """It finds an object under any name."""
    answer = forward(request)
    return Answer(200, body=b"x") if answer.status == 404 and request.operation == "GetObject" else answer


def denies_what_it_has(request: Request, forward: Forward) -> Answer:
    """It denies objects when only a part of them is asked for."""
    return ABSENT if request.header("range") else forward(request)


def lists_nothing(request: Request, forward: Forward) -> Answer:
    """Its lists are empty."""
    if request.operation != "ListObjectsV2":
        return forward(request)
    return Answer(200, body=b"<ListBucketResult><Name>b</Name><IsTruncated>false</IsTruncated></ListBucketResult>")


def lists_what_is_not_there(request: Request, forward: Forward) -> Answer:
    """Its lists have other names."""
    answer = forward(request)
    if request.operation != "ListObjectsV2":
        return answer
    return Answer(200, body=answer.body.replace(b"probe/object</Key>", b"probe/abject</Key>"))


def knows_no_capitals(request: Request, forward: Forward) -> Answer:
    """It takes names in capitals and in small letters for the same."""
    path, mark, query = request.target.partition("?")
    request.target = path.lower() + mark + query
    return forward(request)


def takes_nothing_for_new(request: Request, forward: Forward) -> Answer:
    """It answers that there is an object, whatever is created."""
    return Answer.error(412, "PreconditionFailed") if request.operation == "PutObject" and request.body is not None else forward(request)


def says_yes_to_all(request: Request, forward: Forward) -> Answer:
    """It is a page to log in to a network."""
    assert request.body is not None
    return Answer(200, (("Content-Type", "text/html"), ("ETag", '"0"')), b"<html>Please log in</html>")


def shows_new_objects_late() -> Between:
    """It shows an object only after a while."""
    looks = itertools.count()

    def between(request: Request, forward: Forward) -> Answer:
        return ABSENT if request.operation == "GetObject" and next(looks) < 2 else forward(request)
    return between


def _stripped(answer: Answer, body: bytes) -> Answer:
    """An answer with another body, and without what would give that away."""
    return Answer(answer.status, tuple(one for one in answer.headers if "sha256" not in one[0].lower()), body)


LIES = [ignores_the_condition, ignores_it_when_joining, ignores_it_for_whole_objects, overwrites_and_denies_it,
        keeps_the_first_and_says_created, acknowledges_and_forgets, returns_zeros, returns_zeros_under_the_old_digest,
        drops_the_last_byte, has_whatever_is_asked_for, denies_what_it_has, lists_nothing, lists_what_is_not_there, knows_no_capitals,
        says_yes_to_all, takes_nothing_for_new, shows_new_objects_late]
