from collections.abc import Iterator

import pytest

from support.rpc_calls import Log, logging_to_memory


@pytest.fixture
def log() -> Iterator[Log]:
    with logging_to_memory() as log:
        yield log
