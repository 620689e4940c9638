"""Intents for tests: one good full form, one good short form, a plane and what fills in the short one."""

from pathlib import Path

from offline_feature_plane.contracts.profile import read_profile
from offline_feature_plane.corridor.shortform import FillIns
from offline_feature_plane.documents import load_yaml
from offline_feature_plane.settings import settings_from

LOG = "sha256:" + "0" * 64
PLANE = """
plane: cards
events: {transaction: {path: transactions.parquet, id: tx_id, time: tx_time}}
labels: {chargeback: {path: chargebacks.parquet, event: tx_id, observed: reported_at, value: CHARGEBACK}}
"""
FEATURES = """
fields: {customer_id: string, terminal_id: string, amount: "decimal(12,2)"}
groups:
  customer: {key: customer_id, windows: [1d, 7d, 30d], features: {n: count(), avg: mean(amount)}}
  terminal: {key: terminal_id, windows: [7d, 30d], features: {n: count(), risk: "label_rate(chargeback, CHARGEBACK)"}}
"""
SHORT = """
rows: transaction
features: features.yaml
label: {type: chargeback, positive: [CHARGEBACK], as_of: 2026-09-01T00:00:00Z, unlabeled: negative_when_mature, maturity_days: 90}
splits: {train: [2026-01-01, 2026-04-01], test: [2026-04-08, 2026-06-01]}
"""
FILL_INS = FillIns(code_release_id="0.1.0+sha256:abc", actor=("ann", "os_user"),
                   basis=({"topic": "transaction", "files": ["transactions.parquet"], "log_id": LOG},),
                   label_logs={"chargeback": "sha256:" + "1" * 64}, profile_digest="sha256:" + "2" * 64, feature_set="default@v1",
                   feature_label_types=("chargeback",), key_id="0" * 16)


def plane(more=""):
    """The plane's settings."""
    return settings_from(load_yaml(PLANE + more).value, Path("/plane"))


def closure(also=()):
    """The closure of the profile's only set."""
    return read_profile(load_yaml(FEATURES).value, rows="transaction", label_types=["chargeback"]).closure(
        "default@v1", "transaction", ["chargeback"], also=also)


def full(**changes):
    """A good full form with some fields replaced; `None` values too, `...` removes."""
    document = {
        "schema_version": "learning.ofs_build_intent.v1", "intent_kind": "dataset_build", "platform_run_id": "cards",
        "replay_basis": [{"topic": "transaction", "files": ["transactions.parquet"], "log_id": LOG}],
        "label_basis": {"label_asof_utc": "2026-09-01T00:00:00Z", "resolution_rule": "source_precedence.v1", "maturity_days": 90,
                        "label_types": ["chargeback"], "store": {"chargeback": "sha256:" + "1" * 64}},
        "feature_definition_set": {"feature_set_id": "default", "feature_set_version": "v1", "profile_ref": "features.yaml",
                                   "profile_digest": "sha256:" + "2" * 64},
        "subject": {"source": "transaction"},
        "target": {"label_type": "chargeback", "positive": ["CHARGEBACK"], "unlabeled": "negative_when_mature"},
        "splits": [{"name": "train", "from_utc": "2026-01-01", "to_utc": "2026-04-01"},
                   {"name": "test", "from_utc": "2026-04-08", "to_utc": "2026-06-01"}],
        "identifiers": {"mode": "tokenized", "key_id": "0" * 16}, "run_facts_ref": "none", "join_scope": {"required_output_ids": []},
        "policy_revision": "unversioned", "config_revision": "unversioned", "ofs_code_release_id": "0.1.0+sha256:abc",
        "actor": {"name": "ann", "source": "os_user"}}
    for name, value in changes.items():
        place, key = document, name
        while "__" in key:
            head, _, key = key.partition("__")
            place = place[head]
        if value is ...:
            del place[key]
        else:
            place[key] = value
    return document
