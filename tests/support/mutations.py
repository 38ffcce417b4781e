"""Bytes that are almost what is expected."""

import random
from collections.abc import Callable, Sequence

# What sizes, counts and offsets are confused by.
AWKWARD_NUMBERS = (
    0,
    1,
    127,
    128,
    255,
    256,
    2**15,
    2**16 - 1,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**60,
    2**63,
    2**64 - 1,
)

# How many changes are made: mostly one, since much of what has several is refused for the first.
NUMBERS_OF_CHANGES = (1, 1, 1, 2, 3, 6)


def mutated(seeds: Sequence[bytes], chance: random.Random) -> bytes:
    """Return one of the seeds with a few changes, most of them near its beginning, where sizes stand."""
    data = bytearray(chance.choice(seeds))
    for _ in range(chance.choice(NUMBERS_OF_CHANGES)):
        chance.choice(_CHANGES)(data, seeds, chance)
    return bytes(data)


def _place(data: bytearray, chance: random.Random) -> int:
    """Return a position, as likely in the first few hundred bytes as behind them."""
    return chance.randrange(min(len(data), chance.choice((16, 256, len(data) or 1))) or 1) if data else 0


def _flip(data: bytearray, _seeds: Sequence[bytes], chance: random.Random) -> None:
    if data:
        data[_place(data, chance)] ^= 1 << chance.randrange(8)


def _letter(data: bytearray, _seeds: Sequence[bytes], chance: random.Random) -> None:
    """Put another letter in place of one: what follows is still where it was."""
    place = _place(data, chance)
    if data and 32 <= data[place] < 127:
        data[place] = chance.randrange(32, 127)


def _overwrite(data: bytearray, _seeds: Sequence[bytes], chance: random.Random) -> None:
    if data:
        data[_place(data, chance)] = chance.randrange(256)


def _insert(data: bytearray, _seeds: Sequence[bytes], chance: random.Random) -> None:
    place = _place(data, chance)
    data[place:place] = chance.randbytes(chance.randint(1, 8))


def _delete(data: bytearray, _seeds: Sequence[bytes], chance: random.Random) -> None:
    place = _place(data, chance)
    del data[place : place + chance.randint(1, 32)]


def _repeat(data: bytearray, _seeds: Sequence[bytes], chance: random.Random) -> None:
    place = _place(data, chance)
    data[place:place] = data[place : place + chance.randint(1, 64)] * chance.randint(1, 16)


def _splice(data: bytearray, seeds: Sequence[bytes], chance: random.Random) -> None:
    other = chance.choice(seeds)
    start = chance.randrange(len(other) or 1)
    place = _place(data, chance)
    data[place:place] = other[start : start + chance.randint(1, 256)]


def _truncate(data: bytearray, _seeds: Sequence[bytes], chance: random.Random) -> None:
    del data[_place(data, chance) :]


def _number(data: bytearray, _seeds: Sequence[bytes], chance: random.Random) -> None:
    """Put an awkward number in place of what is there, in one of the ways that formats write numbers."""
    number, place = chance.choice(AWKWARD_NUMBERS), _place(data, chance)
    written = chance.choice(
        (
            number.to_bytes(8, "little"),
            (number % 2**32).to_bytes(4, "little"),
            varint(number),
            str(number).encode(),
        )
    )
    data[place : place + len(written)] = written


def varint(number: int) -> bytes:
    """Write a number as Protocol Buffers do."""
    written = bytearray()
    while number > 127:
        written.append(number & 127 | 128)
        number >>= 7
    written.append(number)
    return bytes(written)


_Change = Callable[[bytearray, Sequence[bytes], random.Random], None]
_CHANGES: tuple[_Change, ...] = (
    *(_letter, _letter, _letter),
    _flip,
    _overwrite,
    _insert,
    _delete,
    _repeat,
    _splice,
    _truncate,
    _number,
)
