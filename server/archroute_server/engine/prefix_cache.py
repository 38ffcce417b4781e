"""PrefixCache: the KV cache of prompts read before, shared by the prompts that begin alike."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from archroute_server.runtime.kv_cache import KeyValueCache, concatenate

# Fewer tokens than this are computed again: joining one more piece of cache costs more than it saves.
MIN_PIECE = 16

# The rest is for the turns of conversations, and for policies that come with requests.
KEPT_SHARE = 3 / 4

TokenIds = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class CacheStatistics:
    """Counters since the cache was made, and its size now."""

    tokens_hit: int
    tokens_missed: int
    evictions: int
    copied_bytes: int
    held_bytes: int
    nodes: int
    kept_bytes: int = 0
    """Of those held, what `PrefixCache.keep` keeps."""
    unkept: int = 0
    """Beginnings that `PrefixCache.keep` was told and that are not kept: not known yet, or without room."""


@dataclass(eq=False, slots=True)
class _Node:
    """A run of tokens behind those of `parent`, with the keys and values of that run alone.

    `joined` holds those of the whole way from the root, once that was asked for more than once.
    `pins` counts the readers that must not lose the node. A node that is `kept` stays until it no longer is.
    """

    parent: "_Node | None"
    tokens: TokenIds
    cache: KeyValueCache | None
    children: "dict[int, _Node]" = field(default_factory=dict)
    joined: KeyValueCache | None = None
    hits: int = 0
    pins: int = 0
    kept: bool = False

    @property
    def evictable(self) -> bool:
        return not (self.children or self.pins or self.kept)

    @property
    def nbytes(self) -> int:
        return sum(part.nbytes for part in (self.cache, self.joined) if part is not None)


class PrefixCache:
    """A radix tree over token ids, bounded in bytes.

        root ── <policies of set A> ─┬─ <first turn> ── <second turn>
             │                       └─ <another conversation>
             └─ <policies of set B>

    A prompt finds the longest way from the root that its tokens agree with, token by token. A run that
    agrees in part is split there. When the bound is reached, joined copies go first, then the least
    recently used leaves; what is being read stays, and so does what `keep` names. One cache
    belongs to one model with one prompt variant, so that equal tokens have equal keys and values. Not to be
    used by two threads at once.
    """

    def __init__(self, capacity: int) -> None:
        """`capacity` is the bound in bytes; 0 keeps nothing."""
        self._capacity = capacity
        self._root = _Node(None, (), None)
        # Least recently used first. A parent is always used after its child, so a leaf is near the front.
        self._recency: OrderedDict[_Node, None] = OrderedDict()
        self._held = 0
        self._hit = 0
        self._missed = 0
        self._evictions = 0
        self._copied = 0
        self.kept: tuple[TokenIds, ...] = ()
        """What `keep` was told last."""
        self._kept_nodes: list[_Node] = []
        self._kept_bytes = 0
        self._unkept = 0
        self._awaited: list[TokenIds] = []  # of `kept`, those that are not wholly known yet

    @property
    def statistics(self) -> CacheStatistics:
        """What the cache did so far."""
        return CacheStatistics(
            self._hit,
            self._missed,
            self._evictions,
            self._copied,
            self._held,
            len(self._recency),
            self._kept_bytes,
            self._unkept,
        )

    @property
    def capacity(self) -> int:
        """The bound in bytes."""
        return self._capacity

    def clear(self) -> None:
        """Forget everything. Not to be called inside a `match` block."""
        self._evictions += len(self._recency)
        self._root = _Node(None, (), None)
        self._recency.clear()
        self._held = 0
        self._mark_kept()

    def known_tokens(self, tokens: Sequence[int], limit: int) -> int:
        """Return how many tokens `match` would give, without a mark on the cache."""
        return sum(agreed for _, agreed in self._longest(tokens, limit))

    @contextmanager
    def match(
        self, tokens: Sequence[int], limit: int, sharing: Sequence[Sequence[int]] = ()
    ) -> Iterator[KeyValueCache | None]:
        """Give the cache of the longest known beginning of `tokens`, of at most `limit` tokens; None if none.

        What is given stays in the cache until the block ends. `sharing` are others that begin with it and
        will use it as well; they are counted too.
        """
        path = self._reach(self._longest(tokens, limit))
        shared = sum(len(node.tokens) for node in path)
        for each in (tokens, *sharing):
            self._hit += shared
            self._missed += len(each) - shared
        for node in path:
            node.pins += 1
        self._touch(path)
        try:
            yield self._join(path) if path else None
        finally:
            for node in path:
                node.pins -= 1

    def insert(self, tokens: Sequence[int], cache: KeyValueCache, offset: int = 0) -> None:
        """Remember `tokens`, copying the keys and values of those that are new.

        `cache` holds those of token n at n + `offset`.
        """
        path = self._reach(self._walk(tokens, len(tokens), 1))
        shared = sum(len(node.tokens) for node in path)
        if len(tokens) - shared >= MIN_PIECE:
            parent = path[-1] if path else self._root
            copied = self._copy(cache, shared + offset, len(tokens) + offset)
            node = _Node(parent, tuple(tokens[shared:]), copied)
            self._attach(node)
            path.append(node)
        self._touch(path)
        if any(tuple(tokens[: len(prefix)]) == prefix for prefix in self._awaited):
            self._mark_kept()
        self._evict()

    def keep(self, prefixes: tuple[TokenIds, ...]) -> None:
        """Evict nothing of these beginnings from when they are known until they are no longer named.

        Those that come first have the precedence, for all of them together get no more than `KEPT_SHARE` of
        the capacity. One that does not fit is evicted like any other.
        """
        self.kept = prefixes
        self._mark_kept()

    def _mark_kept(self) -> None:
        for node in self._kept_nodes:
            node.kept = False
        self._kept_nodes, self._kept_bytes, self._awaited = [], 0, []
        self._unkept = 0
        for prefix in self.kept:
            path = self._reach(self._walk(prefix, len(prefix), 1))
            if sum(len(node.tokens) for node in path) < len(prefix):
                self._awaited.append(prefix)
                self._unkept += 1
            more = [node for node in path if not node.kept]
            size = sum(node.cache.nbytes for node in more if node.cache is not None)
            if self._kept_bytes + size > self._capacity * KEPT_SHARE:
                self._unkept += prefix not in self._awaited
                continue
            for node in more:
                node.kept = True
            self._kept_nodes += more
            self._kept_bytes += size

    def _longest(self, tokens: Sequence[int], limit: int) -> list[tuple[_Node, int]]:
        """Follow `tokens` as far as it is worth while."""
        way = self._walk(tokens, limit, MIN_PIECE)
        while len(way) > 1 and way[-1][1] < MIN_PIECE:
            way.pop()
        return way

    def _walk(self, tokens: Sequence[int], limit: int, shortest: int) -> list[tuple[_Node, int]]:
        """Follow `tokens` from the root: the runs on the way, and how many tokens of each agree.

        The last run may agree in part, but in no fewer than `shortest` tokens.
        """
        way: list[tuple[_Node, int]] = []
        node, done = self._root, 0
        while done < limit and (child := node.children.get(tokens[done])) is not None:
            agreed = common_length(child.tokens, tuple(tokens[done : min(limit, done + len(child.tokens))]))
            if agreed < min(shortest, len(child.tokens)):
                break
            way.append((child, agreed))
            done += agreed
            if agreed < len(child.tokens):
                break
            node = child
        return way

    def _reach(self, way: list[tuple[_Node, int]]) -> list[_Node]:
        """Return runs that end where the way does: the last one is split if it agrees in part."""
        path = [node for node, _ in way]
        if way and way[-1][1] < len(path[-1].tokens):
            path[-1] = self._split(path[-1], way[-1][1])
        return path

    def _split(self, node: _Node, at: int) -> _Node:
        """Part a run in two; return the new node that holds its first `at` tokens."""
        parent, cache = node.parent, node.cache
        assert parent is not None
        assert cache is not None
        self._held -= node.nbytes
        upper = _Node(parent, node.tokens[:at], self._copy(cache, 0, at))
        node.cache = self._copy(cache, at, len(node.tokens))
        node.parent, node.tokens = upper, node.tokens[at:]
        upper.children[node.tokens[0]] = node
        if node.kept:
            upper.kept = True
            self._kept_nodes.append(upper)
        self._held += node.nbytes
        self._attach(upper)
        return upper

    def _attach(self, node: _Node) -> None:
        assert node.parent is not None
        # Replaces the run that was split, whose first token is the same.
        node.parent.children[node.tokens[0]] = node
        self._recency[node] = None
        self._held += node.nbytes

    def _join(self, path: list[_Node]) -> KeyValueCache:
        """Return the keys and values of a whole path; without a copy where that is possible."""
        last = path[-1]
        last.hits += 1
        if last.joined is not None:
            return last.joined
        joined = concatenate([node.cache for node in path if node.cache is not None])
        if len(path) > 1:
            self._copied += joined.nbytes
            # A conversation's last turn is asked for once; what comes again is worth the room that is left.
            if last.hits > 1 and self._held + joined.nbytes <= self._capacity:
                last.joined = joined
                self._held += joined.nbytes
        return joined

    def _copy(self, cache: KeyValueCache, start: int, stop: int) -> KeyValueCache:
        part = cache.slice(start, stop)
        self._copied += part.nbytes
        return part

    def _touch(self, path: list[_Node]) -> None:
        for node in reversed(path):
            self._recency.move_to_end(node)

    def _evict(self) -> None:
        for node in self._recency:
            if self._held <= self._capacity:
                return
            if node.joined is not None:
                self._held -= node.joined.nbytes
                node.joined = None
        while self._held > self._capacity:
            leaf = next((node for node in self._recency if node.evictable), None)
            if leaf is None:
                return
            assert leaf.parent is not None
            del leaf.parent.children[leaf.tokens[0]]
            del self._recency[leaf]
            self._held -= leaf.nbytes
            self._evictions += 1


def common_length(first: Sequence[int], second: Sequence[int]) -> int:
    """Return how many tokens the two have in common from their beginning."""
    for index, (one, other) in enumerate(zip(first, second, strict=False)):
        if one != other:
            return index
    return min(len(first), len(second))
