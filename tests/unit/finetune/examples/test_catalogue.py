import pytest

from archroute_export.finetune.examples.catalogue import Catalogue, domain_of, source_of
from archroute_export.finetune.sources.labelled import LabelledPolicy, LabelledRequest
from archroute_server.router.message import Message, Role

CONFLICTS = {
    "own/a/one": frozenset({"own/b/two", "own/b"}),
    "own/b/two": frozenset({"own/a/one", "own/a"}),
}


def policy(policy_id: str) -> LabelledPolicy:
    return LabelledPolicy(policy_id, domain_of(policy_id), policy_id.rpartition("/")[2], ("x",))


def request(policy_id: str | None, *also: str) -> LabelledRequest:
    return LabelledRequest((Message(Role.USER, "hi"),), policy_id, also=frozenset(also))


@pytest.fixture
def catalogue() -> Catalogue:
    ids = ("own/a", "own/a/one", "own/a/three", "own/b", "own/b/two", "other/c/four")
    return Catalogue({id_: policy(id_) for id_ in ids}, CONFLICTS, {}, {})


@pytest.mark.parametrize(
    ("shown", "answer"),
    [
        (["own/a/one"], "own/a/one"),
        (["own/a", "own/a/one"], "own/a/one"),
        (["own/a", "own/a/three"], "own/a"),
        (["own/a/three"], "other"),
        (["other/c/four"], "other"),
        (["own/b/two"], None),
        (["own/b"], None),
        (["own/a/one", "own/b/two"], None),
    ],
)
def test_what_is_right_depends_on_the_set(catalogue: Catalogue, shown: list[str], answer: str | None) -> None:
    assert catalogue.right_answer(request("own/a/one"), map(policy, shown)) == answer


@pytest.mark.parametrize(
    ("shown", "answer"),
    [
        (["own/a/one"], "own/a/one"),
        (["own/a/one", "other/c/four"], None),
        (["own/a/one", "other/c"], None),
        (["other/c"], None),
        (["own/a/three"], "other"),
    ],
)
def test_what_is_acceptable_too_must_not_be_there(
    catalogue: Catalogue, shown: list[str], answer: str | None
) -> None:
    assert catalogue.right_answer(request("own/a/one", "other/c/four"), map(policy, shown)) == answer


def test_of_two_acceptable_policies_of_a_domain_the_coarse_one_is_right(catalogue: Catalogue) -> None:
    asked = request("own/a/one", "own/a/three")
    assert catalogue.right_answer(asked, [policy("own/a")]) == "own/a"
    assert catalogue.right_answer(asked, [policy("own/a"), policy("own/a/three")]) is None


@pytest.mark.parametrize(
    ("shown", "answer"),
    [(["own/a"], "other"), (["own/b"], None), (["own/b/two"], None), (["own/a/one", "own/b/two"], None)],
)
def test_a_request_out_of_scope_fits_nothing_unless_it_might(
    catalogue: Catalogue, shown: list[str], answer: str | None
) -> None:
    assert catalogue.right_answer(request(None, "own/b"), map(policy, shown)) == answer


def test_policies_that_conflict_or_share_a_name_do_not_go_together(catalogue: Catalogue) -> None:
    one = policy("own/a/one")
    assert not catalogue.compatible(one, [one])
    assert not catalogue.compatible(one, [policy("own/b/two")])
    assert not catalogue.compatible(policy("own/b/two"), [one])
    assert not catalogue.compatible(one, [policy("other/d/One")])
    assert catalogue.compatible(one, [policy("own/a/three"), policy("own/a"), policy("other/c/four")])


def test_ids_name_source_and_domain(catalogue: Catalogue) -> None:
    assert (source_of("own/a/one"), domain_of("own/a/one"), domain_of("own/a")) == ("own", "own/a", "own/a")
    assert catalogue.sources == ("own", "other")
    assert catalogue.domains_of("own") == ["own/a", "own/b"]
    assert [found.id for found in catalogue.by_domain["own/a"]] == ["own/a/one", "own/a/three"]
