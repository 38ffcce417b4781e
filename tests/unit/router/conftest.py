"""A small byte-level tokenizer of Qwen's make, trained in process, and what is built on it."""

from collections.abc import Callable

import pytest
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from archroute_server.router.encoder import PromptEncoder
from archroute_server.router.frame import ChatFrame, PromptHere, SpecialToken, Text
from archroute_server.router.policy import Policy, PolicySet
from archroute_server.router.prompt import VARIANTS, PromptVariant
from archroute_server.router.tokenizer import Tokenizer

# The pre-tokenizer of Qwen2.5's tokenizer.json.
QWEN_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)

CORPUS = (
    'You are a helpful assistant designed to find the best suited route. {"route": "other"} "}',
    "You are provided with route description within <routes></routes> XML tags: <routes> </routes>",
    "Your task is to decide which route is best suit with user intent on the conversation",
    '[{"name": "code_generation", "description": "Generating new code snippets and functions"}]',
    '[{"role": "user", "content": "please fix the bug in this code"}, {"role": "assistant", "content": "',
    "the quick brown fox jumps over the lazy dog, then it sleeps and dreams of other foxes",
)


def train_tokenizer() -> tokenizers.Tokenizer:
    inner = tokenizers.Tokenizer(models.BPE())
    inner.normalizer = normalizers.NFC()
    inner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(tokenizers.Regex(QWEN_PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        special_tokens=["<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    inner.train_from_iterator(CORPUS * 4, trainer)
    inner.add_tokens(["<tool_call>"])  # an added token that is not special, as Qwen's is not
    return inner


@pytest.fixture(scope="session")
def serialized_tokenizer() -> str:
    text: str = train_tokenizer().to_str()
    return text


@pytest.fixture(scope="session")
def tokenizer(serialized_tokenizer: str) -> Tokenizer:
    return Tokenizer(tokenizers.Tokenizer.from_str(serialized_tokenizer))


@pytest.fixture(scope="session")
def frame() -> ChatFrame:
    return ChatFrame(
        (
            SpecialToken(0, "<|im_start|>"),
            Text("user\n"),
            PromptHere(),
            SpecialToken(1, "<|im_end|>"),
            Text("\n"),
            SpecialToken(0, "<|im_start|>"),
            Text("assistant\n"),
        )
    )


@pytest.fixture(scope="session", params=VARIANTS)
def variant(request: pytest.FixtureRequest) -> PromptVariant:
    return PromptVariant.load(request.param)


@pytest.fixture(scope="session")
def policies() -> PolicySet:
    return PolicySet(
        "test",
        (
            Policy("code_generation", "New functions and classes", ("a/large", "b/large")),
            Policy("code_review", "Quality of existing code", ("a/large",)),
            Policy("summarization", "Summaries of documents"),
        ),
    )


@pytest.fixture(scope="session")
def make_encoder(
    variant: PromptVariant, frame: ChatFrame, tokenizer: Tokenizer, policies: PolicySet
) -> Callable[..., PromptEncoder]:
    """Make an encoder with so many tokens left for the conversation beside `policies`."""
    used = len(frame.encode(variant.render(policies.policies, ()), tokenizer))

    def make(room: int, tokenizer: Tokenizer = tokenizer) -> PromptEncoder:
        return PromptEncoder(variant, frame, tokenizer, budget=used + room)

    return make
