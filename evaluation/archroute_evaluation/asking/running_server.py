"""A server that runs somewhere."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from archroute import ArchrouteError, AsyncRouter, Outcome, Policy, Tls
from archroute_evaluation.asking.answer import Answer, DecidedBy, Question, RequestFailed
from archroute_evaluation.errors import EvaluationError
from archroute_server.router.policy import OTHER

_NAMES = {Outcome.OTHER: OTHER}


class RunningServer:
    """Answers through the client, with the policies in each request."""

    def __init__(self, router: AsyncRouter) -> None:
        self._router = router

    async def ask(self, question: Question) -> Answer:
        """Ask the server. Raises `RequestFailed` with its status."""
        try:
            decision = await self._router.route(
                [{"role": message.role.value, "content": message.text} for message in question.messages],
                policies=[Policy(policy.name, policy.description) for policy in question.policies.policies],
            )
        except ArchrouteError as error:
            status = error.code.name if error.code is not None else "INVALID_ARGUMENT"
            raise RequestFailed(status, error.reason, str(error)) from error
        name = decision.policy or _NAMES.get(decision.outcome)
        if name is None:
            message = (
                f"the server gave the outcome {decision.outcome.value!r}, which no minimum was asked for"
            )
            raise RequestFailed("OK", decision.outcome.name, message)
        revisions = decision.revisions
        return Answer(
            name=name,
            probability=decision.probability,
            probabilities={ranked.policy: ranked.probability for ranked in decision.ranking},
            decided_by=DecidedBy(
                revisions.bundle_digest, revisions.prompt_variant, revisions.provider, revisions.temperature
            ),
        )


@asynccontextmanager
async def open_server(
    address: str, timeout: float, *, tls: bool | Tls = False, token: str | None = None
) -> AsyncIterator[RunningServer]:
    """Connect to a server for the block; each request may take `timeout` seconds.

    A `token` needs the scopes `route` and `read`.

    Raises `EvaluationError` if none answers, before anything is asked.
    """
    try:
        async with AsyncRouter(address, timeout=timeout, tls=tls, token=token) as router:
            await router.list_policy_sets()
            yield RunningServer(router)
    except ArchrouteError as error:
        raise EvaluationError(str(error)) from error
