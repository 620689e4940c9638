"""A store in a bucket keeps the contract of all stores on real servers, and survives whatever happens between it and them."""

import functools

import pytest
from s3_servers import open_store, place_at

from offline_feature_plane.testing.store_contract import StoreContract


class TestOnSeaweed(StoreContract):
    @pytest.fixture
    def reopen(self, weed):
        """The same store, opened anew."""
        return functools.partial(open_store, place_at(weed.url))


class TestOnMoto(StoreContract):
    @pytest.fixture
    def reopen(self, moto):
        """The same store, opened anew."""
        return functools.partial(open_store, place_at(moto))


@pytest.mark.parametrize("server", ["weed", "moto"])
def test_parts_of_runs_that_are_over_are_told_and_forgotten(server, request):
    """An upload in parts that was begun and not ended is left over iff its run is over; forgetting it twice is fine."""
    found = request.getfixturevalue(server)
    store = open_store(place_at(getattr(found, "url", found)))
    for key in ("p/over.parquet", "p/live.parquet", "q/over.parquet"):
        store._bucket.request("create_multipart_upload", key)
    (left,) = store.leftovers("p", lambda key: "over" in key)
    assert left.name.startswith("p/over.parquet")
    assert store.remove_leftover(left)
    store.remove_leftover(left)
    assert list(store.leftovers("p", lambda key: "over" in key)) == []
    assert len(list(store.leftovers("", lambda key: True))) == 2
