"""Documents that were made to do harm, in the places of those that people write and of those that the store keeps."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from typing import Any

from small_plane import SmallPlane


def texts(sound: str) -> Iterator[tuple[str, bytes]]:
    """By name: bytes to put in the place of a document whose sound text this is."""
    levels = "\n".join(f"k{level}: &k{level} [{', '.join([f'*k{level - 1}'] * 9)}]" for level in range(1, 8))
    yield "aliases", f"k0: &k0 [x, x]\n{levels}\n".encode()
    yield "two million nodes", b"{a: &a [" + b"x," * 1_000 + b"x], b: [" + b"*a," * 2_000 + b"*a]}"
    yield "an anchor", f"here: &here 1\n{sound}".encode()
    yield "a tag", b"!!python/object/apply:os.system [echo harm]"
    yield "a merge key", f"<<: {{a: 1}}\n{sound}".encode()
    yield "two documents", f"{sound}\n---\n{sound}".encode()
    yield "open braces", b"{" * 500_000
    yield "open blocks", b"- " * 500_000
    yield "nothing", b""
    yield "an empty mapping", b"{}"
    yield "a list", b"[]"
    yield "null", b"null"
    yield "a number", b"1e999999"
    yield "NaN", b'{"a": NaN}'
    yield "a repeated key", b'{"a": 1, "a": 2}'
    yield "half a million items", b"[" + b"1," * 499_999 + b"1]"
    yield "many keys", json.dumps({f"key{number}": number for number in range(40_000)}).encode()
    yield "deep lists", b"[" * 100_000 + b"]" * 100_000
    yield "deep objects", b'{"a":' * 100_000 + b"1" + b"}" * 100_000
    yield "a huge number", b'{"a": ' + b"9" * 900_000 + b"}"
    yield "a huge text", b'{"a": "' + b"x" * 900_000 + b'"}'
    yield "twenty megabytes", b'{"a": "' + b"x" * 20_000_000 + b'"}'
    yield "no UTF-8", b'{"a": "\xff\xfe"}'
    yield "overlong UTF-8", b'{"a": "\xc0\xae\xc0\xae"}'
    yield "UTF-16", '{"a": 1}'.encode("utf-16")
    yield "a half surrogate", b'{"a": "\\ud800"}'
    yield "a NUL", b'{"a": "\\u0000"}\0'
    yield "control characters", b'{"a": "\x1b[2J\x07"}'
    yield "packed", gzip.compress(sound.encode())
    yield "noise", bytes(range(256)) * 40


def crowds() -> Iterator[tuple[str, Callable[[SmallPlane], Any]]]:
    """Documents with far more of something than anybody needs, each of less than a megabyte."""
    yield "plane keys", lambda plane: plane.plane.update({f"key{one}": 1 for one in range(40_000)})
    yield "profile keys", lambda plane: plane.profile.update({f"key{one}": 1 for one in range(40_000)})
    yield "intent keys", lambda plane: plane.intent.update({f"key{one}": 1 for one in range(40_000)})
    yield "tables", lambda plane: plane.plane["events"].update({f"t{one}": {"path": "x", "time": "t"} for one in range(20_000)})
    yield "label types", lambda plane: plane.plane["labels"].update({f"t{one}": {"path": "x"} for one in range(20_000)})
    yield "values", lambda plane: plane.plane["labels"]["chargeback"].update(
        value={"column": "outcome", **{f"v{one}": "X" for one in range(30_000)}})
    yield "gates", lambda plane: plane.plane.update(
        gate_map={f"g{one}": {"outputs": [f"o{one}"], "upstream": [f"g{one + 1}"]} for one in range(15_000)})
    yield "roots", lambda plane: plane.plane.update(roots=[f"r{one}" for one in range(60_000)])
    yield "windows", lambda plane: plane.profile["groups"]["customer"].update(windows=[f"{one + 1}h" for one in range(50_000)])
    yield "features", lambda plane: plane.profile["groups"]["customer"].update(features={f"f{one}": "count()" for one in range(30_000)})
    yield "misspelt features", lambda plane: plane.profile["groups"]["customer"].update(
        features={f"f{one}": "cuont()" for one in range(4_000)})
    yield "fields", lambda plane: plane.profile["fields"].update({f"f{one}": "int64" for one in range(30_000)})
    yield "misspelt fields", lambda plane: plane.profile["fields"].update({f"f{one}": "int65" for one in range(30_000)})
    yield "groups", lambda plane: plane.profile["groups"].update({f"g{one}": plane.profile["groups"]["terminal"] for one in range(6_000)})
    yield "a chain of columns", lambda plane: plane.profile.update(
        derived={f"d{one}": f"d{one + 1} + 1" for one in range(9_000)} | {"d9000": "customer.n_1d"})
    yield "a ring of columns", lambda plane: plane.profile.update(derived={f"d{one}": f"d{(one + 1) % 9_000} + 1" for one in range(9_000)})
    yield "misspelt columns", lambda plane: plane.profile.update(row_features={f"d{one}": "amonut + 1" for one in range(9_000)})
    yield "sources and sets", _many_sets
    yield "splits", lambda plane: plane.intent.update(
        splits={f"s{''.join(chr(97 + int(digit)) for digit in str(one))}": ["2026-01-01", "2026-01-02"] for one in range(15_000)})
    yield "label values", lambda plane: plane.intent["label"].update(positive=[f"P{one}" for one in range(80_000)])
    for name, text in (("parentheses", "(" * 400_000), ("conditions", " or ".join(["amount > 1"] * 30_000)), ("nots", "not " * 100_000),
                       ("minus signs", "-" * 300_000), ("digits", "9" * 900_000)):
        yield name, lambda plane, text=text: plane.intent.update(where=text)


def _many_sets(plane: SmallPlane) -> None:
    plane.profile.clear()
    plane.profile |= {
        "policy_id": "p", "revision": "r", "feature_groups": [], "derived": {}, "row_features": {f"x{one}": "a" for one in range(50)},
        "sources": {f"s{one}": {"event_types": [f"e{one}"], "fields": {"a": "int64"}} for one in range(2_000)},
        "feature_sets": [{"id": f"f{one}", "version": "v1", "row_features": [f"x{number}" for number in range(50)]} for one in range(800)]}
