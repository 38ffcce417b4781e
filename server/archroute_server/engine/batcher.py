"""Batcher: decides which requests the model runs for next, runs it, and hands out the results."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from archroute_server.engine.decoder import Decoder
from archroute_server.engine.limits import Limits
from archroute_server.engine.model import Model
from archroute_server.engine.packed_row import Question
from archroute_server.engine.prefix_cache import MIN_PIECE, CacheStatistics, PrefixCache, common_length
from archroute_server.engine.request import Request, Settled
from archroute_server.engine.request_queue import RequestQueue
from archroute_server.engine.time_limit import UNLIMITED, TimeLimit
from archroute_server.telemetry.stages import Stage, StageObserver, StageRun, observed, unobserved


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
    """Tokens that the model read in them: new ones of prompts, those of answers, and padding."""
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
    tokens: these share one row and one forward pass. It never waits for more requests to arrive.
    """

    def __init__(self, model: Model, limits: Limits) -> None:
        self._limits = limits
        self._queue = RequestQueue()
        # Used by the inference thread alone.
        self._decoder = Decoder(model, limits)
        self._prefixes = PrefixCache(limits.prefix_cache_bytes)
        self._batches = 0
        self._requests = 0
        self._forward_passes = 0
        self._tokens = 0
        self._failed_batches = 0
        self._thread = threading.Thread(target=self._serve, name="inference", daemon=True)
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

    def submit(
        self,
        question: Question,
        reusable: int,
        limit: TimeLimit = UNLIMITED,
        observer: StageObserver = unobserved,
    ) -> Future[Settled]:
        """Queue a question, the first `reusable` tokens of whose prompt are worth keeping.

        Cancelling what is returned takes it out of the queue; once it runs it cannot be cancelled. Raises
        `EngineClosed`, and so does the future if the batcher is closed before the question's turn. If the
        limit passes before, the future raises what `TimeLimit.passed` returns. `observer` is told of its
        stages from the queue on.
        """
        request = Request(question, reusable, limit, observer)
        self._queue.put(request)
        return request.future

    def close(self) -> None:
        """Finish the step that runs, and tell whoever still waits `EngineClosed`. Blocks until then."""
        self._queue.close()
        self._thread.join()

    def _serve(self) -> None:
        try:
            while self._queue.wait():
                self._step()
        finally:
            # Whatever ended the thread, nobody is left to wait for it.
            self._queue.close()

    def _step(self) -> None:
        batch = self._schedule()
        results = self._run(batch)
        self._settle(batch, results)

    def _schedule(self) -> list[Request]:
        """Take the next batch out of the queue; it is empty if nobody waits any more."""
        waiting = self._queue.waiting()
        batch, later = waiting[:1], waiting[1:]
        if later and self._limits.batch_requests > 1 and self._takes_one_pass(batch[0]):
            self._fill(batch, later)
        return self._queue.take(batch)

    def _fill(self, batch: list[Request], later: Sequence[Request]) -> None:
        """Add requests to a batch of one, in the order of their arrival."""
        known = self._known_tokens(batch[0])
        room = self._limits.batch_tokens - batch[0].question.new_tokens(known)
        for request in later:
            if len(batch) == self._limits.batch_requests:
                return
            needed = request.question.new_tokens(known)
            if needed <= room and self._goes_with(request, batch, known):
                batch.append(request)
                room -= needed

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
            if len(batch) == 1:
                return [error]
        # One by one, since what is wrong with one request, or too much at once, must not fail them all.
        self._failed_batches += 1
        return [result for request in batch for result in self._run([request])]

    def _decide(self, batch: Sequence[Request]) -> list[Settled]:
        if not batch:
            return []
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
            if isinstance(result, Exception):
                request.future.set_exception(result)
            else:
                request.future.set_result(result)


def _readable(request: Request) -> int:
    """Return how many tokens may come from the cache: the last is always read, for the logits behind it."""
    return len(request.question.prompt) - 1
