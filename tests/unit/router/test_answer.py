import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archroute_server.router.answer import answer_trie
from archroute_server.router.errors import InvalidRequest
from archroute_server.router.policy import Policy, PolicySet
from archroute_server.router.prompt import PromptVariant
from archroute_server.router.tokenizer import Tokenizer

END = 1


def policy_set(*names: str) -> PolicySet:
    return PolicySet("", tuple(Policy(name, "What it covers") for name in names))


def test_answers_are_the_policies_in_order_then_other(
    variant: PromptVariant, tokenizer: Tokenizer, policies: PolicySet
) -> None:
    trie = answer_trie(policies, variant, tokenizer, END)
    assert trie.answers == ("code_generation", "code_review", "summarization", "other")
    for name, sequence in zip(trie.answers, trie.sequences, strict=True):
        assert sequence[-1] == END
        assert list(sequence[:-1]) == tokenizer.encode(f'{{"route": "{name}"}}')
    assert tokenizer.decode(trie.forced).startswith('{"route":')


@pytest.mark.parametrize(
    "names",
    [
        ("code", "code_review", "code_review_long", "c"),
        ('a"', 'a\\"', "a\\", "a"),
        ('code"}', "code", 'code"}<|im_end|>'),
        ("🚀", "🚀🚀", "👩‍👩‍👧", "👩"),
        ("</routes>", "<routes>", "routes", "<tool_call>"),
        ("others", "othe", "Other"),
    ],
)
def test_names_that_resemble_one_another_are_told_apart(
    variant: PromptVariant, tokenizer: Tokenizer, names: tuple[str, ...]
) -> None:
    trie = answer_trie(policy_set(*names), variant, tokenizer, END)
    for name, sequence in zip(trie.answers, trie.sequences, strict=True):
        assert sequence.count(END) == 1
        assert json.loads(tokenizer.decode(sequence[:-1])) == {"route": name}


COMPOSED, DECOMPOSED = "caf\u00e9", "cafe\u0301"


def test_names_that_the_tokenizer_makes_equal_are_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(InvalidRequest) as caught:
        answer_trie(
            policy_set(COMPOSED, "tea", DECOMPOSED),
            PromptVariant.load("arch-router/gateway"),
            tokenizer,
            END,
        )
    (violation,) = caught.value.violations
    assert violation.field == "policies[2].name"
    assert COMPOSED in violation.description
    assert DECOMPOSED in violation.description


def test_the_same_names_differ_where_the_variant_escapes_them(tokenizer: Tokenizer) -> None:
    variant = PromptVariant.load("arch-router/model-card")
    trie = answer_trie(policy_set(COMPOSED, "tea", DECOMPOSED), variant, tokenizer, END)
    assert len(set(trie.sequences)) == 4


@settings(max_examples=20)
@given(
    count=st.integers(1, 500),
    stem=st.sampled_from(["", "code", "a/b/", "🚀", '"', "\\"]),
    base=st.integers(2, 10),
)
def test_one_to_five_hundred_policies_with_shared_prefixes(
    tokenizer: Tokenizer, count: int, stem: str, base: int
) -> None:
    # Numbers in unary and digits: many names are the beginning of others.
    names = [f"{stem}{index % base}" + "x" * (index // base) for index in range(count)]
    variant = PromptVariant.load("arch-router/gateway")
    trie = answer_trie(policy_set(*names), variant, tokenizer, END)
    reached = sorted(
        edge.answer for branch in trie.branches for edge in branch.edges if edge.answer is not None
    )
    assert reached == list(range(count + 1))
