"""The ids and digests that say which request, which meaning and which input (`domain.md` §3, `decisions.md` D9–D15).

Every digest is `digest(recipe, payload)` of `domain.canonical` under its own recipe id; the one exception, `run_key`, keeps the
exact bytes of the older recipe whose id it carries. All functions are pure: callers bring documents and (name, sha256) pairs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from decimal import Decimal
from itertools import pairwise
from typing import Any

from offline_feature_plane.domain.canonical import canonical_bytes, digest, hex_of, sha256_of
from offline_feature_plane.domain.instants import format_instant
from offline_feature_plane.domain.usual_json import MAX_DEPTH, Unusual, quoted, shape
from offline_feature_plane.errors import SchemaInvalid

EVENT_HASH_RECIPE = "ofs.event_hash.v1"
_SHORT = 10**18


def run_key(request_id: str) -> str:
    """32 hex digits that name the run of a request id.

    The hashed object is flat, `{"recipe": "ofs.run_key.v1", "request_id": …}`: the recipe's form since its first version.

    >>> run_key("request-0001")
    'b59ca6101c85562696fa82916e37e096'
    """
    return hex_of(sha256_of(canonical_bytes({"recipe": "ofs.run_key.v1", "request_id": request_id})))[:32]


def payload_digest(intent: Mapping[str, Any]) -> str:
    """Digest of a full contract document as asked and meant: equal iff the same thing was asked (recipe `ofs.intent_payload.v2`)."""
    return digest("ofs.intent_payload.v2", intent)


def dataset_fingerprint(identity: Mapping[str, Any]) -> str:
    """Digest of a dataset's identity, every default written out: which meaning (recipe `ofs.dataset_fingerprint.v2`)."""
    return digest("ofs.dataset_fingerprint.v2", identity)


def dataset_manifest_id(fingerprint: str) -> str:
    """`dm_` and 32 hex digits: the short name of a meaning (recipe `ofs.dataset_manifest_id.v2`).

    Raises:
        ValueError: the fingerprint is not a `sha256:<hex>`.

    >>> dataset_manifest_id("sha256:" + "0" * 64)
    'dm_5bdcb7bc1bb431a44027c628d3b3654f'
    """
    hex_of(fingerprint)
    return f"dm_{hex_of(digest('ofs.dataset_manifest_id.v2', {'dataset_fingerprint': fingerprint}))[:32]}"


def core_digest(manifest: Mapping[str, Any]) -> str:
    """Digest of a manifest without its `evidence`: what every publisher of one meaning must reach (`decisions.md` A1, A3)."""
    return digest("ofs.dataset_manifest_core.v1", {key: value for key, value in manifest.items() if key != "evidence"})


def config_digest(meaning: Mapping[str, Any]) -> str:
    """Digest of the settings that change rows, and of nothing else (`decisions.md` D11; recipe `ofs.config.v1`)."""
    return digest("ofs.config.v1", meaning)


def closure_digest(described: Mapping[str, Any]) -> str:
    """Digest of a closure's document (`closure_documents.describe`): recipe `ofs.feature_closure.v1` (`decisions.md` D11)."""
    return digest("ofs.feature_closure.v1", described)


def files_log_id(files: Iterable[tuple[str, int, str]]) -> str:
    """The log id of plain tables: digest of the sorted (relative path, rows, file digest) list (`decisions.md` D9).

    Raises:
        SchemaInvalid: a path appears twice, or is not NFC text.
        ValueError: a file digest is no `sha256:<hex>`.
    """
    entries = sorted(files, key=lambda entry: entry[0].encode("utf-8", "surrogatepass"))
    for before, after in pairwise(entries):
        if before[0] == after[0]:
            raise SchemaInvalid("the file is listed twice.", path=before[0])
    listed = [{"path": path, "rows": rows, "sha256": f"sha256:{hex_of(file_digest)}"} for path, rows, file_digest in entries]
    return digest("ofs.files_log.v1", listed)


def stored_labels_log_id(label_type: str, asof_us: int, store_id: str, position: int, assertions: int) -> str:
    """The log id of the labels of a type in a database, as of a cut: digest of which log it is and how far it reaches below the cut."""
    return digest("ofs.label_log.v1", {"label_type": label_type, "label_asof_utc": format_instant(asof_us), "store_id": store_id,
                                       "position": str(position), "assertions": str(assertions)})


def row_id(log_id: str, row: int) -> str:
    """The event id of a plain table's row that has none: `<log_id8>:<row>`, eight hex digits of its log id (`decisions.md` D14)."""
    return f"{hex_of(log_id)[:8]}:{row}"


def event_hash(*, platform_run_id: str, event_type: str, event_id: str, ts_us: int, schema_version: str, payload: Any) -> str:
    """Digest of what an event says, under `ofs.event_hash.v1` (`decisions.md` D15).

    A producer's retry (other emission time, trace, coordinate) has the same hash. The payload is data of others: its text is hashed as
    stored and its numbers by their exact value, so `1.50` and `1.5` are equal and no digit is lost. Read it with
    `load_json(…, numbers="decimal")`.

    Raises:
        SchemaInvalid: the payload holds a float or something else that JSON has not.
    """
    plain = all(type(text) is str for text in (platform_run_id, event_type, event_id, schema_version))
    return (event_hash_at if plain else _located_event_hash)(platform_run_id, event_type, event_id, format_instant(ts_us), schema_version,
                                                             payload)


def event_hash_at(platform_run_id: str, event_type: str, event_id: str, ts_utc: str, schema_version: str, payload: Any) -> str:
    """`event_hash` where the caller has the instant in its canonical text, as `format_instant` writes it; all four names are plain text."""
    try:
        said = (f'{{"payload":{{"event_id":{quoted(event_id)},"event_type":{quoted(event_type)},"payload":{_told_text(payload, 2)},'
                f'"platform_run_id":{quoted(platform_run_id)},"schema_version":{quoted(schema_version)},"ts_utc":"{ts_utc}"}},'
                f'"recipe":"{EVENT_HASH_RECIPE}"}}')
        return f"sha256:{hashlib.sha256(said.encode()).hexdigest()}"
    except (Unusual, UnicodeEncodeError):  # keys that need care, or something to refuse in its place
        return _located_event_hash(platform_run_id, event_type, event_id, ts_utc, schema_version, payload)


def _located_event_hash(platform_run_id: str, event_type: str, event_id: str, ts_utc: str, schema_version: str, payload: Any) -> str:
    return digest(EVENT_HASH_RECIPE, {
        "platform_run_id": platform_run_id, "event_type": event_type, "event_id": event_id, "ts_utc": ts_utc,
        "schema_version": schema_version, "payload": _told_apart(payload)}, as_stored=True)


def told_bytes(value: Any) -> bytes:
    """What event hashes take a payload for: canonical bytes, equal iff the values are, numbers by exact value and text as stored.

    Raises:
        SchemaInvalid, ResourceExceeded: as `event_hash`.

    >>> told_bytes({"b": "1", "a": 1}) == told_bytes({"a": 1, "b": "1"}) != told_bytes({"a": "1", "b": 1})
    True
    """
    try:
        return _told_text(value, 0).encode()
    except (Unusual, UnicodeEncodeError):
        return canonical_bytes(_told_apart(value), as_stored=True)


def code_release_id(version: str, files: Iterable[tuple[str, str]]) -> str:
    """`<version>+sha256:<hex>`: the release and the digest of its installed files as (relative name, sha256) pairs (`decisions.md` D11)."""
    listed = {name: f"sha256:{hex_of(file_digest)}" for name, file_digest in files}
    return f"{version}+{digest('ofs.code_release.v1', listed)}"


def _told_text(value: Any, depth: int) -> str:
    """The canonical text of `_told_apart(value)`, `depth` levels deep, written in one pass; raises Unusual."""
    kind = type(value)
    if kind is str:
        return quoted(f"s:{value}")
    if kind is int and -_SHORT < value < _SHORT:
        digits = str(value)
        kept = digits.rstrip("0")
        return f'"n:{kept}e{len(digits) - len(kept)}"' if value else '"n:0e0"'
    if kind is Decimal or kind is int:
        return f'"n:{_exact_text(value)}"'
    if value is None or kind is bool:
        return "null" if value is None else "true" if value else "false"
    if depth == MAX_DEPTH:
        raise Unusual
    if kind is dict:
        template, ordered = shape(value)
        return template % tuple([quoted(f"s:{item}") if type(item) is str else _told_text(item, depth + 1) for item in ordered(value)])
    if kind is list or kind is tuple:
        return f"[{','.join([_told_text(item, depth + 1) for item in value])}]"
    raise Unusual


def _told_apart(value: Any) -> Any:
    """A payload in which text and numbers cannot be mistaken for each other: `s:` before text, `n:<digits>e<exponent>` for numbers."""
    if isinstance(value, str):
        return f"s:{value}"
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        return f"n:{_exact_text(value)}"
    if isinstance(value, Mapping):
        return {key: _told_apart(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_told_apart(item) for item in value]
    return value


def _exact_text(number: int | Decimal) -> str:
    """Digits without trailing zeros and a decimal exponent: one text per value. Zero is `0e0`, whatever its sign."""
    plain = str(number) if type(number) is Decimal else ""
    whole, _, fraction = plain.removeprefix("-").partition(".")
    if (all_digits := f"{whole}{fraction}").isdigit():  # no exponent, and no NaN
        text = all_digits.lstrip("0")
        kept = text.rstrip("0")
        return f"{'-' if plain[0] == '-' else ''}{kept}e{len(text) - len(kept) - len(fraction)}" if kept else "0e0"
    sign, digits, exponent = Decimal(number).as_tuple()
    if not isinstance(exponent, int):
        raise SchemaInvalid(f"{number} is not a JSON number.")
    text = "".join(map(str, digits)).lstrip("0")
    kept = text.rstrip("0")
    if not kept:
        return "0e0"
    return f"{'-' if sign else ''}{kept}e{exponent + len(text) - len(kept)}"
