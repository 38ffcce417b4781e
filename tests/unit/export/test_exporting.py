"""What an export says of itself."""

from importlib.metadata import PackageNotFoundError

import pytest

from archroute_export import exporting


def test_a_checkout_that_is_not_installed_can_export(monkeypatch: pytest.MonkeyPatch) -> None:
    def not_installed(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(exporting, "version", not_installed)
    assert exporting._own_version() == "(not installed)"
