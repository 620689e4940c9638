"""What a refused build leaves: the completeness receipt that says why (`domain.md` §1.4, `docs/decisions/0013`)."""

from __future__ import annotations

from offline_feature_plane.corridor.receipts import storable
from offline_feature_plane.domain.canonical import canonical_bytes, sha256_of
from offline_feature_plane.errors import OfsError
from offline_feature_plane.ports import ObjectStore


def keep_refusal(error: OfsError, store: ObjectStore) -> None:
    """Keep the completeness receipt that an error carries, under the digest of its bytes, and record in the error where it is stored.

    The same refusal is kept once; an error without such a receipt leaves nothing.

    Raises:
        StorageIoFailure: the store failed.
    """
    receipt = error.fields.get("completeness")
    if receipt is None:
        return
    data = canonical_bytes(storable(receipt))
    key = f"{receipt['platform_run_id']}/ofs/receipts/refused/{sha256_of(data).removeprefix('sha256:')}.json"
    store.put_new(key, data)
    error.fields["completeness_ref"] = store.uri(key)
