"""Publication through a store in a bucket, on a real server behind a network that breaks: every run ends, nothing is lost or double."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import get_args

import pytest
from s3_servers import Weed, open_store, place_at
from test_publish import DM, PLACE, World

from offline_feature_plane.corridor import publish as protocol
from offline_feature_plane.errors import OfsError, RefNotFound, TargetDegenerate
from offline_feature_plane.objects.s3 import store as store_module
from offline_feature_plane.testing.asking import ManualClock
from offline_feature_plane.testing.fault_proxy import Fault, FaultProxy, How

HOWS: tuple[How, ...] = tuple(how for how in get_args(How) if how not in {"ignore condition", "delay"})


class BucketWorld(World):
    """The world of the protocol, its store in a bucket: `direct` as it is, `store` as the worker sees it."""

    def __init__(self, folder: Path, weed: Weed, network: FaultProxy) -> None:
        super().__init__(folder)
        self.network = network
        place = place_at(weed.url)
        seen = place_at(network.url, place.prefix.strip("/"))
        store_module._SAFE.update({place, seen})  # the trial has tests of its own
        self.direct = open_store(place)
        self.store = open_store(seen, ManualClock())

    def visible(self) -> protocol.Manifest | None:
        """The visible manifest."""
        try:
            return protocol.read_manifest(self.direct.get(protocol.manifest_key(PLACE, DM)))
        except RefNotFound:
            return None


@pytest.fixture(scope="module")
def network(weed: Weed) -> Iterator[FaultProxy]:
    """A network that can be broken."""
    with FaultProxy(weed.url) as proxy:
        yield proxy


def requests_of(world: BucketWorld, **how: OfsError) -> int:
    """How many requests an undisturbed worker sends."""
    world.network.script()
    with suppress(OfsError):
        world.serve(world.ask().run_key, **how)
    return len(world.network.seen)


@pytest.mark.parametrize(("broken", "step"), [
    (None, 13), pytest.param(None, 1, marks=pytest.mark.long),
    pytest.param(TargetDegenerate("the split has no positives"), 1, marks=pytest.mark.long)], ids=["publishes", "all", "fails"])
@pytest.mark.parametrize("how", HOWS)
def test_a_broken_request_anywhere_ends_well(tmp_path: Path, weed: Weed, network: FaultProxy, how: How, broken: OfsError | None,
                                             step: int) -> None:
    """One broken request anywhere is made good by the store itself; two in a row, or all from there on, by a worker that comes later."""
    count = requests_of(BucketWorld(tmp_path, weed, network), broken=broken)
    assert count >= (10 if broken is None else 4)
    for first in range(HOWS.index(how) % step, count, step):
        for nths in ((first,), (first, first + 1), range(first, 200)):
            (tmp_path / "runs.db").unlink()
            world = BucketWorld(tmp_path, weed, network)
            run_key = world.ask().run_key
            network.script(*(Fault(how, nth=nth) for nth in nths))
            with suppress(OfsError):
                world.serve(run_key, broken=broken)
            assert network.struck
            network.script()
            if len(nths) == 1 and how != "corrupt download":
                assert world.ledger.run(run_key).state == ("DONE" if broken is None else "FAILED")
            assert world.serve_until_it_ends(run_key, broken=broken).state == ("DONE" if broken is None else "FAILED")
            assert len(list(world.direct.list(f"{PLACE}/ofs/commits"))) == 1
            world.check(run_key)
