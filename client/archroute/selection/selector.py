"""From a router's decision to a model. Opens no connection: the clients ask, and bring the answer here."""

import random
import threading
import time
from collections.abc import Callable, Iterable, Mapping

from archroute.decision import Decision, Outcome
from archroute.errors import CircuitOpenError, NoModelFitsError
from archroute.fields import checked_text, invalid, kind_of
from archroute.message import Conversation
from archroute.policy import Policy
from archroute.request import RouteRequest, to_request
from archroute.selection.answer_cache import AnswerCache, question
from archroute.selection.attempt import Attempt
from archroute.selection.breaker import CircuitBreaker
from archroute.selection.chooser import Chooser
from archroute.selection.conversation import derived_key, ends_with_user, readable
from archroute.selection.counters import Counters
from archroute.selection.health import Health, health_shown_by
from archroute.selection.model import Model
from archroute.selection.model_map import ModelMap
from archroute.selection.needs import Needs, needs_of
from archroute.selection.reasons import NO_POLICY, SelectionReason, reason_of
from archroute.selection.rewards import MemoryRewards, RewardStore
from archroute.selection.selection import DEFAULT_RULE, SESSION_RULE, Selection
from archroute.selection.sessions import Session, Sessions
from archroute.selection.stickiness import OTHER, Holding, Stickiness, Turn, Verdict

__all__ = ["DEFAULT_SELECT_TIMEOUT", "Selector"]

DEFAULT_SELECT_TIMEOUT = 0.25
"""Seconds. What a caller loses at most by asking a router that does not answer."""

_HELD = {
    Verdict.NOT_A_USER_TURN: SelectionReason.NOT_A_USER_TURN,
    Verdict.WITHIN_MARGIN: SelectionReason.WITHIN_MARGIN,
    Verdict.SWITCHES_SPENT: SelectionReason.SWITCHES_SPENT,
    Verdict.UNSURE: SelectionReason.UNSURE,
}


class Selector:
    """Everything that `Router.select` remembers and goes by. Thread-safe, and may be shared between clients.

        messages ──> begin ──┬── the session, the cache or an open circuit says it ──> Selection
                             └── Attempt ──> the client asks ──┬── answered ─────────> Selection
                                                               ├── failed ───────────> Selection
                                                               └── abandoned, as the caller is gone

    None of these raises an Exception unless the attempt is `strict`.
    """

    def __init__(
        self,
        models: ModelMap,
        *,
        timeout: float = DEFAULT_SELECT_TIMEOUT,
        stickiness: Stickiness | None = Stickiness(),  # noqa: B008 (it is frozen)
        breaker: CircuitBreaker | None = None,
        cache: AnswerCache | None = None,
        rewards: RewardStore | None = None,
        exploration: float = 0.05,
        sessions: int = 10_000,
        seed: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Remembers nothing yet.

        Args:
            models: The model map.
            timeout: Seconds that a selection may wait for the router, if the call does not say.
            stickiness: When a session changes its policy; None to decide each turn by itself.
            breaker: When to leave the router alone; None for one with the default settings.
            cache: Answers that are given again; None for one with the default settings.
            rewards: Where rewards are kept; None for the memory of this process.
            exploration: How probable it is, from 0 to 1, that `bandit` and `fastest` try any of the models.
            sessions: Most sessions that are remembered.
            seed: For the random choices of `bandit` and `fastest`; None for other ones each time.
            clock: Seconds, of any clock that does not go back.

        Raises:
            InvalidRequestError: A number is out of its range.
        """
        if not timeout > 0:
            raise invalid("timeout", f"must be above 0 seconds, or math.inf for no limit, not {timeout}")
        if not 0 <= exploration <= 1:
            raise invalid("exploration", f"must be from 0 to 1, not {exploration}")
        if sessions < 1:
            raise invalid("sessions", f"must be 1 or more, not {sessions}")
        self.counters = Counters()
        """What became of selections, in numbers."""
        self._timeout = timeout
        self._stickiness = stickiness
        self.models = models
        """The model map. It may be replaced while selections are made: weights and models change from the
        next one on, and nothing is forgotten. A session keeps its model as long as the policy has it."""
        self._breaker = breaker or CircuitBreaker()
        # Not `or`: an empty cache is false.
        self._cache = AnswerCache() if cache is None else cache
        self._chooser = Chooser(
            MemoryRewards() if rewards is None else rewards,
            self.counters,
            exploration=exploration,
            rng=random.Random(seed),
        )
        self._sessions = Sessions(sessions)
        self._clock = clock
        self._lock = threading.Lock()

    def begin(
        self,
        messages: Conversation,
        *,
        needs: Needs | None,
        key: str,
        policy_set: str | None,
        policies: Iterable[Policy | Mapping[str, object]] | None,
        min_probability: float,
        timeout: float | None,
        strict: bool,
    ) -> Attempt | Selection:
        """Reads a conversation. Returns a selection if there is no need, or no point, to ask the router."""
        known = Attempt(needs if isinstance(needs, Needs) else Needs(), strict=strict)
        try:
            conversation = readable(messages)
            needs = _checked_needs(needs).joined(needs_of(conversation))
            key = checked_text(key, "key") or derived_key(conversation)
            known = Attempt(needs, key, strict)
            request = to_request(
                RouteRequest(
                    messages=conversation,
                    policy_set=policy_set,
                    policies=policies,
                    min_probability=min_probability,
                    session_id=key,
                )
            )
            attempt = Attempt(
                needs,
                key,
                strict,
                self._timeout if timeout is None else timeout,
                ends_with_user(conversation),
                question(request),
                request,
            )
            return self._without_asking(attempt) or attempt
        except Exception as error:  # noqa: BLE001 (select must not fail its caller, whatever happens)
            return self._given_up(known, error)

    def answered(self, attempt: Attempt, decision: Decision) -> Selection:
        """The router answered."""
        self._breaker.succeeded()
        try:
            if decision.outcome is not Outcome.UNRECOGNIZED:
                self._cache.put(attempt.question, decision, self._clock())
            return self._settled(attempt, decision, SelectionReason.ANSWERED)
        except Exception as error:  # noqa: BLE001 (likewise)
            return self._given_up(attempt, error)

    def failed(self, attempt: Attempt, error: Exception) -> Selection:
        """Asking failed."""
        match health_shown_by(error):
            case Health.GOOD:
                self._breaker.succeeded()
            case Health.BAD:
                self._breaker.failed(self._clock())
            case Health.UNKNOWN:
                self._breaker.abandoned()
        return self._given_up(attempt, error)

    def abandoned(self) -> None:
        """Whoever was asking is gone, and so there will be no answer."""
        self._breaker.abandoned()

    def report(
        self, selection: Selection, *, reward: float | None, latency: float | None, model: str | None
    ) -> None:
        """Takes in how a model did.

        Raises:
            InvalidRequestError: The reward is not from 0 to 1, the latency is below 0, or the model is none
                of the selection's.
        """
        name = selection.model.name if model is None else model
        if name not in (selection.model.name, *(each.name for each in selection.alternatives)):
            raise invalid("model", "must be the selection's model or one of its alternatives")
        if reward is not None and not 0 <= reward <= 1:
            raise invalid("reward", f"must be from 0 to 1, not {reward}")
        if latency is not None and not 0 <= latency < float("inf"):
            raise invalid("latency", f"must be 0 seconds or more, not {latency}")
        self.counters.reported()
        self._chooser.learn(selection.policy, name, reward, latency)

    def _without_asking(self, attempt: Attempt) -> Selection | None:
        if self._stickiness is not None and not attempt.by_user:
            with self._lock:
                holds = self._sessions.get(attempt.key).holding.policy is not None
            if holds:
                return self._settled(attempt, None, SelectionReason.NOT_A_USER_TURN)
        now = self._clock()
        cached = self._cache.get(attempt.question, now)
        if cached is not None:
            return self._settled(attempt, cached, SelectionReason.CACHED)
        if not self._breaker.allows(now):
            raise CircuitOpenError("the router failed again and again, so it is left alone for a moment")
        self.counters.called()
        return None

    def _settled(self, attempt: Attempt, decision: Decision | None, routed: SelectionReason) -> Selection:
        """The selection, as the session and the strategy want it. Without a decision the session decides."""
        # Once, so that no selection is made of two maps if another one comes meanwhile.
        model_map = self.models
        turn = Turn(None, by_user=False) if decision is None else Turn.of(decision, by_user=attempt.by_user)
        with self._lock:
            session = self._sessions.get(attempt.key)
            holding, verdict = (self._stickiness or Stickiness()).step(session.holding, turn)
            if decision is None or holding.policy != decision.policy:
                named = session.models
            else:
                named = decision.models
            keep = "" if verdict in (Verdict.FIRST, Verdict.SWITCHED) else session.model
            models, rule, lack = self._candidates(model_map, attempt, holding.policy, named, keep)
            if self._stickiness is not None:
                self._sessions.put(
                    attempt.key, Session(holding, named, models[0].name if models else session.model)
                )
        if verdict is Verdict.SWITCHED:
            self.counters.switched()
        reason = lack or _HELD.get(verdict, routed)
        if holding.policy is None and decision is not None:
            reason = NO_POLICY[decision.outcome]
        return self._selection(model_map, attempt, models, rule, reason, holding, turn, decision)

    def _candidates(
        self, model_map: ModelMap, attempt: Attempt, policy: str | None, named: tuple[str, ...], keep: str
    ) -> tuple[tuple[Model, ...], str, SelectionReason | None]:
        """The models to try in their order, what put the first one there, and why there is none if so."""
        if policy is None or policy == OTHER:
            return (), DEFAULT_RULE, SelectionReason.OTHER
        models = model_map.models_of(policy, named)
        fitting = tuple(model for model in models if attempt.needs.are_met_by(model))
        if not fitting:
            lack = SelectionReason.NO_MODEL_FITS if models else SelectionReason.NO_MODELS
            return (), DEFAULT_RULE, lack
        ordered = self._chooser.order(model_map, policy, fitting, attempt.key, attempt.needs)
        kept = tuple(model for model in ordered if model.name == keep)
        if kept:
            return kept + tuple(model for model in ordered if model.name != keep), SESSION_RULE, None
        return ordered, model_map.strategy_of(policy).value, None

    def _given_up(self, attempt: Attempt, error: Exception) -> Selection:
        if attempt.strict:
            self.counters.selected(reason_of(error))
            raise error
        with self._lock:
            holding = self._sessions.get(attempt.key).holding
        return self._selection(
            self.models, attempt, (), DEFAULT_RULE, reason_of(error), holding, None, None, error
        )

    def _selection(
        self,
        model_map: ModelMap,
        attempt: Attempt,
        models: tuple[Model, ...],
        rule: str,
        reason: SelectionReason,
        holding: Holding,
        turn: Turn | None,
        decision: Decision | None,
        error: Exception | None = None,
    ) -> Selection:
        policy = holding.policy if models else None
        defaults = tuple(model for model in model_map.default if attempt.needs.are_met_by(model))
        candidates = models + tuple(model for model in defaults if model not in models)
        if not candidates and attempt.strict:
            raise NoModelFitsError("no model of the policy, and no default one, can do what is needed")
        self.counters.selected(reason)
        model, *alternatives = candidates or model_map.default
        return Selection(
            model=model,
            alternatives=tuple(alternatives),
            policy=policy,
            probability=None if policy is None or turn is None else turn.probabilities.get(policy),
            outcome=reason.outcome,
            reason=reason,
            rule=rule,
            experiment="" if policy is None else model_map.entry(policy).experiment,
            fits=bool(candidates),
            needs=attempt.needs,
            key=attempt.key,
            holding=holding,
            turn=turn,
            decision=decision,
            error=error,
        )


def _checked_needs(needs: object) -> Needs:
    if needs is None:
        return Needs()
    if not isinstance(needs, Needs):
        raise invalid("needs", f"must be archroute.Needs, not {kind_of(needs)}")
    return needs
