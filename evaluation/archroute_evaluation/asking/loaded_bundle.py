"""A bundle that is loaded into this process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from archroute_evaluation.asking.answer import Answer, DecidedBy, Question, RequestFailed
from archroute_evaluation.errors import EvaluationError
from archroute_server.bundle.errors import BundleError
from archroute_server.embedded import EmbeddedModelError, embedded_bundle
from archroute_server.engine.engine import Engine
from archroute_server.engine.loading import load_engine
from archroute_server.router.decision import Outcome, Rows
from archroute_server.router.errors import InvalidRequest
from archroute_server.router.policy import OTHER
from archroute_server.router.trie import AnswerTrie
from archroute_server.runtime.errors import RuntimeLoadError


@dataclass(frozen=True, slots=True)
class Loading:
    """How a bundle is loaded; each field is a setting of `archroute serve`."""

    provider: str
    threads: int
    max_prompt_tokens: int


class LoadedBundle:
    """Answers with an engine in this process, and says what the model says at each branch.

    Nothing is decided from a cache of decisions: the engine keeps none unless told to.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def ask(self, question: Question) -> Answer:
        """Decide. Raises `RequestFailed` for what a server would call an invalid request."""
        try:
            answer = await self._engine.decide(question.policies, question.messages)
        except InvalidRequest as error:
            raise _invalid(error) from error
        decision, identity = answer.decision, self._engine.identity
        return Answer(
            # Without a minimum there is no other outcome.
            name=OTHER if decision.outcome is Outcome.OTHER else str(decision.policy),
            probability=decision.probability,
            probabilities={ranked.policy: ranked.probability for ranked in decision.ranking},
            decided_by=DecidedBy(
                identity.bundle_digest, identity.prompt_variant, identity.provider, identity.temperature
            ),
        )

    async def read(self, question: Question) -> tuple[AnswerTrie, Rows]:
        """Return what the model says at each branch, before any temperature. Raises `RequestFailed`."""
        try:
            return await self._engine.read_branches(question.policies, question.messages)
        except InvalidRequest as error:
            raise _invalid(error) from error


@asynccontextmanager
async def open_bundle(folder: Path | None, loading: Loading) -> AsyncIterator[LoadedBundle]:
    """Load a bundle for the block, that of the embedded model without a folder. Raises `EvaluationError`."""
    try:
        engine = load_engine(
            folder or await embedded_bundle(),
            provider=loading.provider,
            threads=loading.threads,
            max_prompt_tokens=loading.max_prompt_tokens,
        )
    except (BundleError, EmbeddedModelError, RuntimeLoadError) as error:
        raise EvaluationError(str(error)) from error
    try:
        yield LoadedBundle(engine)
    finally:
        await engine.close(grace=0)


def _invalid(error: InvalidRequest) -> RequestFailed:
    return RequestFailed("INVALID_ARGUMENT", "INVALID_REQUEST", str(error))
