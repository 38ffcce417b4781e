"""Batcher: decides which requests the model runs for next, runs it, and hands out the results."""

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass

from archroute_server.engine.decoder import Decoder
from archroute_server.engine.errors import EngineClosed, ModelOutputInvalid, ModelStalled
from archroute_server.engine.limits import Limits
from archroute_server.engine.model import Model
from archroute_server.engine.packed_row import Question
from archroute_server.engine.prefix_cache import (
    MIN_PIECE,
    CacheStatistics,
    PrefixCache,
    TokenIds,
    common_length,
)
from archroute_server.engine.request import Request, Settled
from archroute_server.engine.request_queue import RequestQueue
from archroute_server.engine.time_limit import UNLIMITED, TimeLimit
from archroute_server.engine.vitals import Vitals
from archroute_server.engine.watched_model import WatchedModel
from archroute_server.telemetry.stages import Stage, StageObserver, StageRun, observed, unobserved

INFERENCE_THREAD = "inference"
"""The name of the thread that runs a model."""


@dataclass(frozen=True, slots=True)
class BatchStatistics:
    """Counters since the start, and the queue now."""

    batches: int
    """Runs of the model, for one request or several."""
    requests: int
    """Requests that were decided in them."""
    forward_passes: int
    """One for each batch, and more for a request decided greedily or longer than a pass takes."""
    tokens: int
    """Tokens that the model read in them: new ones of prompts, those of answers, and padding of rows."""
    failed_batches: int
    """Of several requests each, which were then decided one by one."""
    waiting: int
    """Requests that wait for the inference thread."""
    cancelled: int
    """Requests that left the queue because nobody waited for them any more."""
    expired: int
    """Requests that left the queue because their time was over."""


class Batcher:
    """Runs the model on a thread of its own, step by step: schedule, run, settle.

    A step takes the oldest request and, up to the limits, those behind it that begin with the same cached
    tokens: these share one row and one forward pass. If nobody is left behind and the limits allow more, it
    waits for the next request, provided that one is likely to come before the oldest has waited for
    `Limits.batch_wait`; see `RequestQueue.wait_for_another`. So a request that waited for the step before
    is not made to wait again, and where the limits allow one request a step, none ever is.
    """

    def __init__(self, model: Model, limits: Limits, queue: RequestQueue | None = None) -> None:
        self._limits = limits
        self._queue = queue or RequestQueue()
        self._model = WatchedModel(model)
        self._running: Sequence[Request] = ()
        # Used by the inference thread alone.
        self._decoder = Decoder(self._model, limits)
        self._prefixes = PrefixCache(limits.prefix_cache_bytes)
        self._kept = self._prefixes.kept
        self._batches = 0
        self._requests = 0
        self._forward_passes = 0
        self._tokens = 0
        self._failed_batches = 0
        self._failed_runs = 0
        self._failures_in_a_row = 0
        self._thread = threading.Thread(target=self._serve, name=INFERENCE_THREAD, daemon=True)
        self._thread.start()

    @property
    def statistics(self) -> BatchStatistics:
        """What the batcher did so far."""
        queue = self._queue.statistics
        return BatchStatistics(
            batches=self._batches,
            requests=self._requests,
            forward_passes=self._forward_passes,
            tokens=self._tokens,
            failed_batches=self._failed_batches,
            waiting=queue.waiting,
            cancelled=queue.cancelled,
            expired=queue.expired,
        )

    @property
    def prefix_statistics(self) -> CacheStatistics:
        """What the prefix cache did so far."""
        return self._prefixes.statistics

    @property
    def vitals(self) -> Vitals:
        """Whether the model runs."""
        seconds = self._model.running_seconds
        return Vitals(
            failed_runs=self._failed_runs,
            failures_in_a_row=self._failures_in_a_row,
            forward_seconds=seconds,
            stalled=seconds > self._limits.forward_timeout,
        )

    def submit(
        self,
        question: Question,
        reusable: int,
        limit: TimeLimit = UNLIMITED,
        observer: StageObserver = unobserved,
    ) -> Future[Settled]:
        """Queue a question, the first `reusable` tokens of whose prompt are worth keeping.

        Cancelling what is returned takes it out of the queue; once it runs it cannot be cancelled. Raises
        `ModelStalled`, and `EngineClosed`; the future raises the latter too if the batcher is closed before
        the question's turn, and `ModelFailed`. If the limit passes before, the future raises what
        `TimeLimit.passed` returns. `observer` is told of its stages from the queue on.
        """
        if self.vitals.stalled:
            raise ModelStalled
        request = Request(question, reusable, limit, observer)
        self._queue.put(request)
        return request.future

    def keep(self, prefixes: Sequence[TokenIds]) -> None:
        """Keep these beginnings of prompts cached from the next step on; see `PrefixCache.keep`.

        Nothing is evicted between two steps, so that there is no need to wait for it.
        """
        self._kept = tuple(prefixes)

    def abandon(self) -> int:
        """Tell whoever waits, and whoever a forward pass runs for, `ModelStalled`; return how many they are.

        The forward pass goes on, since nothing can end it, and what it gives is for the prefix cache alone.
        """
        return self._queue.fail(ModelStalled) + self._fail_running(ModelStalled)

    def close(self, patience: float | None = None) -> bool:
        """Finish the step that runs, and tell whoever still waits `EngineClosed`. Blocks until then.

        With `patience`, blocks for so many seconds at most; whoever the step runs for is then told the same.
        Returns whether the inference thread has ended.
        """
        self._queue.close()
        self._thread.join(patience)
        if self._thread.is_alive():
            self._fail_running(EngineClosed)
        return not self._thread.is_alive()

    def _fail_running(self, error: Callable[[], Exception]) -> int:
        return sum(_tell(request, error()) for request in self._running)

    def _serve(self) -> None:
        try:
            while self._queue.wait():
                self._step()
        finally:
            # Whatever ended the thread, nobody is left to wait for it.
            self._queue.close()

    def _step(self) -> None:
        batch = self._running = self._schedule()
        results = self._run(batch)
        self._running = ()
        self._settle(batch, results)

    def _schedule(self) -> list[Request]:
        """Take the next batch out of the queue; it is empty if nobody waits any more."""
        while True:
            waiting = self._queue.waiting()
            batch, takes_more = self._choose(waiting)
            if not takes_more or len(batch) < len(waiting):
                break
            if not self._queue.wait_for_another(batch[0], self._limits.batch_wait):
                break
        return self._queue.take(batch)

    def _choose(self, waiting: Sequence[Request]) -> tuple[list[Request], bool]:
        """Return who of those that wait goes first and with whom, and whether the limits allow another."""
        batch, later = list(waiting[:1]), waiting[1:]
        if not batch or self._limits.batch_requests <= 1 or not self._takes_one_pass(batch[0]):
            return batch, False
        known = self._known_tokens(batch[0])
        room = self._limits.batch_tokens - batch[0].question.new_tokens(known)
        for request in later:
            if len(batch) == self._limits.batch_requests:
                break
            needed = request.question.new_tokens(known)
            if needed <= room and self._goes_with(request, batch, known):
                batch.append(request)
                room -= needed
        return batch, len(batch) < self._limits.batch_requests and room > 0

    def _goes_with(self, request: Request, batch: Sequence[Request], known: int) -> bool:
        """Say whether a request is best decided with the batch, `known` of whose tokens are cached."""
        return (
            self._takes_one_pass(request)
            and request.question.prompt[:known] == batch[0].question.prompt[:known]
            and self._known_tokens(request) == known
            and not any(self._gains_by_waiting(request, other, known) for other in batch)
        )

    def _gains_by_waiting(self, request: Request, other: Request, known: int) -> bool:
        """Say whether the request finds more of its prompt in the cache once `other` is decided."""
        if self._prefixes.capacity == 0:
            return False
        fresh = other.question.prompt[known : other.reusable]
        return common_length(request.question.prompt[known:], fresh) >= MIN_PIECE

    def _takes_one_pass(self, request: Request) -> bool:
        return self._decoder.takes_one_pass(request.question.layout)

    def _known_tokens(self, request: Request) -> int:
        return self._prefixes.known_tokens(request.question.prompt, _readable(request))

    def _run(self, batch: Sequence[Request]) -> Sequence[Settled | Exception]:
        """Run the model; return what came of each request."""
        try:
            return self._decide(batch)
        except Exception as error:  # noqa: BLE001 - told to whoever asked
            self._failed_runs += 1
            if isinstance(error, ModelOutputInvalid):
                # Keys and values that were cached are all that it may share with the requests to come.
                self._prefixes.clear()
            if len(batch) == 1:
                self._failures_in_a_row += 1
                return [error]
        # One by one, since what is wrong with one request, or too much at once, must not fail them all.
        self._failed_batches += 1
        return [result for request in batch for result in self._run([request])]

    def _decide(self, batch: Sequence[Request]) -> list[Settled]:
        if not batch:
            return []
        if (kept := self._kept) is not self._prefixes.kept:
            self._prefixes.keep(kept)
        started = time.perf_counter()
        oldest, *others = batch
        prompts = [request.question.prompt for request in others]
        observers = [request.observer for request in batch]
        with self._prefixes.match(oldest.question.prompt, _readable(oldest), prompts) as past:
            cached = past.tokens if past is not None else 0
            found = StageRun(Stage.PREFIX_CACHE, started, time.perf_counter(), {"tokens.cached": cached})
            for observer in observers:
                observer(found)
            with observed(Stage.FORWARD, observers) as facts:
                decoded = self._decoder.decode([request.question for request in batch], past)
                facts["tokens"] = decoded[0].tokens
                facts["forward_passes"] = decoded[0].forward_passes
                facts["requests"] = len(batch)
            with observed(Stage.SETTLE, observers):
                for request, result in zip(batch, decoded, strict=True):
                    reusable = request.question.prompt[: request.reusable]
                    self._prefixes.insert(reusable, result.cache, result.offset)
        seconds = time.perf_counter() - started
        self._failures_in_a_row = 0
        self._batches += 1
        self._requests += len(batch)
        self._forward_passes += decoded[0].forward_passes
        self._tokens += decoded[0].tokens
        return [
            Settled(result.branches, cached, result.forward_passes, started, seconds, len(batch))
            for result in decoded
        ]

    def _settle(self, batch: Sequence[Request], results: Sequence[Settled | Exception]) -> None:
        for request, result in zip(batch, results, strict=True):
            _tell(request, result)


def _tell(request: Request, result: Settled | Exception) -> bool:
    """Say what became of a request, and whether it was not told before: a slow one may be given up."""
    with contextlib.suppress(InvalidStateError):
        if isinstance(result, Exception):
            request.future.set_exception(result)
        else:
            request.future.set_result(result)
        return True
    return False


def _readable(request: Request) -> int:
    """Return how many tokens may come from the cache: the last is always read, for the logits behind it."""
    return len(request.question.prompt) - 1
