import pytest

from peers.cases import Case
from support.bench_results import make_case


@pytest.fixture
def case() -> Case:
    return make_case()
