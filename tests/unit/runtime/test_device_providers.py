"""What the table of providers says of devices goes with what sessions make of it."""

import pytest

from archroute_server.runtime.providers import PROVIDERS, Provider


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.name)
def test_keys_and_values_are_copied_by_the_provider_that_a_device_is_called_after(provider: Provider) -> None:
    [copying] = [other for other in PROVIDERS if other.name == provider.device]
    assert copying.device == provider.device
