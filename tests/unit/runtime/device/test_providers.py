"""What the table of providers says of devices goes with what sessions make of it."""

import pytest

from archroute_server.runtime.providers import PROVIDERS, Provider


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.name)
def test_keys_and_values_are_copied_by_the_provider_that_a_device_is_called_after(provider: Provider) -> None:
    [copying] = [other for other in PROVIDERS if other.name == provider.device]
    assert copying.device == provider.device


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.name)
def test_buckets_keep_to_the_sizes_that_attention_is_fast_for(provider: Provider) -> None:
    buckets = provider.shape_buckets
    if buckets is not None:
        assert buckets.cached[0] == 0
        assert {size % provider.shape_bucket for size in (*buckets.cached, *buckets.new)} == {0}
