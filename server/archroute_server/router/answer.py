"""What the model may answer: the name of a policy, or `other`."""

from archroute_server.router.policy import OTHER, PolicySet
from archroute_server.router.prompt import PromptVariant
from archroute_server.router.tokenizer import Tokenizer
from archroute_server.router.trie import AnswerTrie


def answer_text(variant: PromptVariant, name: str) -> str:
    """Write the answer that names a policy, with the name spelled as in the prompt.

    For example `{"route": "code_generation"}`. Source: the last lines of the prompt templates.
    """
    return variant.style.answer(name)


def answer_trie(
    policies: PolicySet, variant: PromptVariant, tokenizer: Tokenizer, end_of_turn: int
) -> AnswerTrie:
    """Build the tree of all answers: one for each policy in order, then `other`.

    Each answer is tokenized whole and by itself, as the model wrote it when it was trained, and ends in the
    token id `end_of_turn`. Raises `InvalidRequest` if the tokenizer cannot tell two of them apart.
    """
    names = [policy.name for policy in policies.policies] + [OTHER]
    sequences = [(*tokenizer.encode(answer_text(variant, name)), end_of_turn) for name in names]
    return AnswerTrie(names, sequences)
