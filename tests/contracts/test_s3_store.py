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
