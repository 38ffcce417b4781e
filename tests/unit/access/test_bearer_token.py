import hashlib
import re

from archroute_server.access.bearer_token import BearerToken, new_token, token_digest
from archroute_server.access.limits import UNLIMITED
from archroute_server.access.rules import UNRESTRICTED, AccessRules
from archroute_server.access.scope import Scope


def token(name: str, secret: str) -> BearerToken:
    return BearerToken(name, token_digest(secret), frozenset({Scope.ROUTE}), UNLIMITED)


def test_a_token_is_256_random_bits_behind_a_prefix() -> None:
    made = {new_token() for _ in range(100)}
    assert len(made) == 100
    # 32 bytes are 43 characters of base64.
    assert all(re.fullmatch(r"archroute_[A-Za-z0-9_-]{43}", token) for token in made)


def test_what_is_kept_of_a_token_is_its_sha256() -> None:
    assert token_digest("archroute_x") == hashlib.sha256(b"archroute_x").hexdigest()


def test_a_token_is_found_wherever_it_stands_and_no_other_is() -> None:
    tokens = [token(name, f"secret of {name}") for name in ("first", "second", "third")]
    rules = AccessRules(frozenset(), tokens=tokens)
    for known in tokens:
        assert rules.find(f"secret of {known.name}") is known
    assert rules.find("secret of") is None
    # What the file has of a token does not open anything.
    assert rules.find(tokens[0].digest) is None


def test_without_rules_everyone_may_do_everything_and_without_a_bound() -> None:
    assert UNRESTRICTED.anonymous == set(Scope)
    assert UNRESTRICTED.anonymous_limits == UNLIMITED
