"""Zones come from the pinned wheel."""

import subprocess
import sys

import pytest

from offline_feature_plane.domain.zones import named_zone
from offline_feature_plane.errors import SettingsInvalid


@pytest.mark.parametrize("zone", ["", "Europe", "europe/paris", "Mars/Base", "../UTC", "/etc/localtime", "Europe/Paris\0", "zone.tab",
                                  "a/" * 9])
def test_only_names_of_the_wheel_are_zones(zone):
    """Folders, other files, other spellings and paths are no zones."""
    with pytest.raises(SettingsInvalid):
        named_zone(zone)


def test_the_hosts_rules_are_not_asked(tmp_path):
    """A host with other rules for a zone changes nothing: the wheel's are used."""
    host = tmp_path / "zoneinfo" / "Europe"
    host.mkdir(parents=True)
    from importlib import resources

    import tzdata

    (host / "Paris").write_bytes(resources.files(tzdata).joinpath("zoneinfo", "Asia", "Tokyo").read_bytes())
    code = ("from datetime import datetime; from offline_feature_plane.domain.zones import named_zone; "
            "print(datetime(2026, 1, 1, tzinfo=named_zone('Europe/Paris')).utcoffset())")
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONTZPATH": str(tmp_path / "zoneinfo")}, capture_output=True, text=True,
                          check=True)
    assert done.stdout.strip() == "1:00:00"
