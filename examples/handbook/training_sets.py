"""The datasets behind the handbook's table, built through the library: the honest one, who was known to be compromised, and the leak.

    07-25     08-01     08-08     08-15     08-22
 ─────[ train )── gap ───[ test )────────────┤ as-of: every label of the test week is known
      [ known     ───)                       │ frauds that had become known by the last test day
                  08-07

A label is known 7 days after its transaction. The leak takes two mistakes at once: labels that claim to be known at their transaction's
own instant, and terminal windows without the delay of 7 days.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml
from build import check_form, write_plane

import offline_feature_plane as ofs
from offline_feature_plane.errors import StorageIoFailure

AS_OF = "2018-08-22T00:00:00Z"
SPLITS = {"train": ["2018-07-25", "2018-08-01"], "test": ["2018-08-08", "2018-08-15"]}
KNOWN = {"as_of": "2018-08-14T00:00:00Z", "split": ["2018-07-25", "2018-08-07"]}
LABEL_DELAY = pa.scalar(7 * 86_400_000_000, pa.duration("us"))


@dataclass(frozen=True)
class Workshop:
    """A folder with two planes over the same transactions: one with the labels as they were, one with labels set back to their events.

    `intent` asks for the table's rows, `hasty` for the same with windows that reach up to the row.
    """

    honest: ofs.Plane
    backdated: ofs.Plane
    intent: Mapping[str, Any]
    hasty: Mapping[str, Any]

    def table(self) -> ofs.Dataset:
        """The rows of the published table: the 14 features, the amount and the target of both weeks."""
        return build(self.honest, self.intent)

    def known(self) -> ofs.Dataset:
        """The transactions whose labels were known on the last test day, from the first training day on."""
        label = {**self.intent["label"], "as_of": KNOWN["as_of"]}
        asked = {name: value for name, value in self.intent.items() if name != "gap"}
        return build(self.honest, {**asked, "label": label, "splits": {"known": KNOWN["split"]}})

    def hasty_but_honest(self) -> ofs.Dataset:
        """Windows without delay over honest labels: each row still sees only the labels that were known at its instant."""
        return build(self.honest, self.hasty)

    def refusal(self) -> ofs.OfsError | None:
        """What a build for training from backdated labels is refused with; None if it is not."""
        try:
            self.backdated.build(self.hasty)
        except ofs.OfsError as refused:
            return refused
        return None

    def leak(self) -> ofs.Dataset:
        """The same, forced: a dataset that says that it is not for training."""
        return build(self.backdated, {**self.hasty, "non_training_allowed": True})


def open_workshop(data: Path, out: Path) -> Workshop:
    """Write both planes for a data folder into `out`, and open them.

    Raises:
        RefNotFound, SourceUnreadable, SourceColumnUnknown, SourceTypeMismatch: the folder is not of the form.
        SettingsInvalid, StorageIoFailure: `out` cannot be used.
    """
    check_form(data)
    write_plane(data, out, as_of=AS_OF)
    profile = (out / "features.yaml").read_text(encoding="utf-8")
    intent = yaml.safe_load((out / "intent.yaml").read_text(encoding="utf-8")) | {"splits": SPLITS, "gap": "7d"}
    try:
        backdate(data / "labels.parquet", out / "backdated.parquet")
        (out / "hasty.yaml").write_text(without_delay(profile), encoding="utf-8")
    except OSError as wrong:
        raise StorageIoFailure(f"{out} cannot be written: {wrong.strerror}.", path=str(out), fix="Choose another with --out.") from wrong
    settings = out / "plane.yaml"
    lied_to = {"plane": "backdated", "labels.fraud.path": "backdated.parquet"}  # another plane: its datasets are not the honest one's
    return Workshop(ofs.open(settings), ofs.open(settings, **lied_to), intent, {**intent, "features": "hasty.yaml"})


def backdate(labels: Path, lie: Path) -> None:
    """Write the labels again as if each had been known at its transaction's instant."""
    table = pq.read_table(labels, partitioning=None)
    place = table.column_names.index("label_ts_utc")
    told = pc.subtract(table["label_ts_utc"].cast(pa.timestamp("us", "UTC")), LABEL_DELAY)
    pq.write_table(table.set_column(place, "label_ts_utc", told), lie)


def without_delay(profile: str) -> str:
    """The profile with terminal windows that end at the row; under a revision of its own, for it means something else."""
    kept = "".join(line for line in profile.splitlines(keepends=True) if not line.lstrip().startswith("delay:"))
    return re.sub(r"(?m)^revision:.*$", "revision: hasty", kept)


def build(plane: ofs.Plane, intent: Mapping[str, Any]) -> ofs.Dataset:
    """Build a dataset, or find it built, and open it."""
    return plane.dataset(plane.build(intent).manifest.dataset_manifest_id)
