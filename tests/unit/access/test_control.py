import pytest

from archroute_server.access.bearer_token import BearerToken, token_digest
from archroute_server.access.control import AccessControl, address_of
from archroute_server.access.errors import (
    CallerBusy,
    CallerTooFast,
    ScopeMissing,
    TokenInvalid,
    TokenMissing,
)
from archroute_server.access.limits import UNLIMITED, CallerLimits
from archroute_server.access.rules import AccessRules
from archroute_server.access.scope import Scope
from support.fake_clock import FakeClock

ROUTE = "/archroute.v1.RouterService/Route"
PUT = "/archroute.v1.RouterService/PutPolicySet"
CHECK = "/grpc.health.v1.Health/Check"
UNKNOWN = "/archroute.v1.RouterService/Shutdown"
PEER = "ipv4:10.0.0.1:5000"

SECRETS = {"gateway": "archroute_g", "operator": "archroute_o"}
BEARER = {name: [f"Bearer {secret}"] for name, secret in SECRETS.items()}


def token(name: str, *scopes: Scope, limits: CallerLimits = UNLIMITED) -> BearerToken:
    return BearerToken(name, token_digest(SECRETS[name]), frozenset(scopes), limits)


RULES = AccessRules(
    frozenset({Scope.HEALTH}),
    tokens=(token("gateway", Scope.ROUTE), token("operator", Scope.READ, Scope.ADMIN)),
)


def test_a_token_opens_what_its_scopes_say_and_nothing_else() -> None:
    control = AccessControl(RULES)
    assert control.admit(ROUTE, BEARER["gateway"], PEER).name.text == "gateway"
    assert control.admit(PUT, BEARER["operator"], PEER).name.text == "operator"
    with pytest.raises(ScopeMissing, match=r"'gateway' may not do this without the scope `admin`"):
        control.admit(PUT, BEARER["gateway"], PEER)
    with pytest.raises(ScopeMissing, match=r"'operator' .* `route`"):
        control.admit(ROUTE, BEARER["operator"], PEER)
    # What is open to everyone is open to a token, too.
    assert control.admit(CHECK, BEARER["gateway"], PEER).name.text == "gateway"


def test_without_a_token_only_what_is_open() -> None:
    control = AccessControl(RULES)
    caller = control.admit(CHECK, [], PEER)
    assert (caller.name.text, caller.name.known) == ("ipv4:10.0.0.1", False)
    with pytest.raises(TokenMissing, match="Bearer TOKEN"):
        control.admit(ROUTE, [], PEER)


@pytest.mark.parametrize(
    "authorizations",
    [
        ["Bearer archroute_x"],
        ["Bearer "],
        ["Bearer"],
        [""],
        ["archroute_g"],
        ["Basic archroute_g"],
        ["Bearer archroute_g archroute_g"],
        ["Bearer archroute_g", "Bearer archroute_g"],
        [f"Bearer {token_digest('archroute_g')}"],
    ],
)
@pytest.mark.parametrize("method", [ROUTE, CHECK])
def test_a_token_that_is_none_is_refused_even_for_what_is_open(
    method: str, authorizations: list[str]
) -> None:
    with pytest.raises(TokenInvalid) as refused:
        AccessControl(RULES).admit(method, authorizations, PEER)
    assert "archroute_" not in str(refused.value)


@pytest.mark.parametrize("written", ["bearer archroute_g", "BEARER  archroute_g", "Bearer archroute_g "])
def test_the_scheme_may_be_written_in_any_case(written: str) -> None:
    assert AccessControl(RULES).admit(ROUTE, [written], PEER).name.text == "gateway"


def test_a_method_that_is_not_in_the_table_is_for_nobody() -> None:
    for control in (AccessControl(), AccessControl(RULES)):
        for authorizations in ([], BEARER["operator"]):
            with pytest.raises(ScopeMissing, match="nobody may call it"):
                control.admit(UNKNOWN, authorizations, PEER)


def test_without_tokens_of_its_own_a_server_does_not_read_those_of_callers() -> None:
    # They are for another server, and of no use here.
    assert not AccessControl().admit(ROUTE, BEARER["gateway"], PEER).name.known
    control = AccessControl(AccessRules(frozenset({Scope.ROUTE})))
    assert not control.admit(ROUTE, BEARER["gateway"], PEER).name.known
    # Nor does it ask for one where that would not help.
    with pytest.raises(ScopeMissing, match=r"a caller without a token .* `admin`"):
        control.admit(PUT, [], PEER)


def test_calls_of_one_caller_share_its_limits_and_others_do_not() -> None:
    limits = CallerLimits(concurrent_requests=1)
    rules = AccessRules(
        frozenset({Scope.ROUTE}), limits, (token("gateway", Scope.ROUTE, limits=CallerLimits(2)),)
    )
    control = AccessControl(rules)
    with control.admit(ROUTE, [], "ipv4:10.0.0.1:1").request():
        with (
            pytest.raises(CallerBusy, match=r"concurrent_requests") as refused,
            control.admit(ROUTE, [], "ipv4:10.0.0.1:2").request(),
        ):
            pass
        assert refused.value.retry_after > 0
        with control.admit(ROUTE, [], "ipv4:10.0.0.2:1").request():
            pass
        gateway = control.admit(ROUTE, BEARER["gateway"], "ipv4:10.0.0.1:3")
        with gateway.request(), gateway.request(), pytest.raises(CallerBusy), gateway.request():
            pass
    with control.admit(ROUTE, [], "ipv4:10.0.0.1:4").request():
        pass


def test_a_request_that_fails_is_no_longer_under_way() -> None:
    control = AccessControl(AccessRules(frozenset({Scope.ROUTE}), CallerLimits(concurrent_requests=1)))
    for _ in range(3):
        with pytest.raises(RuntimeError), control.admit(ROUTE, [], PEER).request():
            raise RuntimeError


def test_a_rate_says_when_to_come_again() -> None:
    clock = FakeClock()
    limits = CallerLimits(requests_per_second=0.5, burst=2)
    control = AccessControl(AccessRules(frozenset({Scope.ROUTE}), limits), clock=clock)

    def ask() -> None:
        with control.admit(ROUTE, [], PEER).request():
            pass

    ask()
    ask()
    with pytest.raises(CallerTooFast, match=r"0\.5 requests a second .* in 2 s") as refused:
        ask()
    clock.now += refused.value.retry_after
    ask()


def test_what_is_refused_for_another_reason_uses_up_no_rate() -> None:
    limits = CallerLimits(concurrent_requests=1, requests_per_second=0.001, burst=2)
    control = AccessControl(AccessRules(frozenset({Scope.ROUTE}), limits))
    caller = control.admit(ROUTE, [], PEER)
    with caller.request():
        for _ in range(5):
            with pytest.raises(CallerBusy), caller.request():
                pass
    with caller.request():
        pass


def test_new_rules_apply_at_once_and_unchanged_limits_go_on() -> None:
    limits = CallerLimits(requests_per_second=0.001, burst=1)
    control = AccessControl(AccessRules(frozenset(), tokens=(token("gateway", Scope.ROUTE, limits=limits),)))
    with control.admit(ROUTE, BEARER["gateway"], PEER).request():
        pass
    other = token("operator", Scope.ROUTE)
    control.replace(AccessRules(frozenset(), tokens=(token("gateway", Scope.ROUTE, limits=limits), other)))
    with pytest.raises(CallerTooFast), control.admit(ROUTE, BEARER["gateway"], PEER).request():
        pass
    with control.admit(ROUTE, BEARER["operator"], PEER).request():
        pass
    control.replace(AccessRules(frozenset(), tokens=(token("gateway", Scope.ROUTE),)))
    with control.admit(ROUTE, BEARER["gateway"], PEER).request():
        pass
    with pytest.raises(TokenInvalid):
        control.admit(ROUTE, BEARER["operator"], PEER)


def test_a_token_that_was_changed_or_removed_ends_what_was_open_with_it() -> None:
    control = AccessControl(RULES)
    gateway = control.admit(ROUTE, BEARER["gateway"], PEER)
    operator = control.admit(PUT, BEARER["operator"], PEER)
    with gateway.request():
        control.replace(AccessRules(frozenset({Scope.HEALTH}), tokens=RULES.tokens[1:]))
        with pytest.raises(TokenInvalid, match="while the stream was open"), gateway.request():
            pass
    with operator.request():
        pass
    control.replace(AccessRules(frozenset(), tokens=(token("operator", Scope.READ),)))
    with pytest.raises(TokenInvalid), operator.request():
        pass


def test_what_was_open_to_everyone_ends_when_it_no_longer_is() -> None:
    control = AccessControl(AccessRules(frozenset({Scope.ROUTE, Scope.HEALTH})), max_addresses=1)
    caller = control.admit(ROUTE, [], PEER)
    control.admit(ROUTE, [], "ipv4:10.0.0.2:1")  # whose limits take the place of the first one's
    control.replace(AccessRules(frozenset({Scope.ROUTE, Scope.HEALTH, Scope.READ})))
    with caller.request():
        pass
    control.replace(AccessRules(frozenset({Scope.HEALTH})))
    with pytest.raises(TokenInvalid), caller.request():
        pass


def test_addresses_are_remembered_up_to_a_bound() -> None:
    limits = CallerLimits(requests_per_second=0.001, burst=1)
    control = AccessControl(AccessRules(frozenset({Scope.ROUTE}), limits), max_addresses=2)

    def ask(address: str) -> bool:
        try:
            with control.admit(ROUTE, [], f"ipv4:{address}:1").request():
                return True
        except CallerTooFast:
            return False

    assert [ask("10.0.0.1"), ask("10.0.0.1"), ask("10.0.0.2")] == [True, False, True]
    assert [ask("10.0.0.1"), ask("10.0.0.3")] == [False, True]
    # The one that was heard from longest ago made room.
    assert [ask("10.0.0.1"), ask("10.0.0.2")] == [False, True]


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:10.0.0.1:5000", "ipv4:10.0.0.1"),
        ("ipv6:%5B::1%5D:5000", "ipv6:[::1]"),
        ("ipv6:[fe80::1%25eth0]:5000", "ipv6:[fe80::1]"),
        ("unix:", "unix:"),
        ("unix:/run/archroute.sock", "unix:"),
        ("", ":"),
    ],
)
def test_the_port_of_a_peer_is_no_part_of_its_name(peer: str, address: str) -> None:
    assert address_of(peer) == address
