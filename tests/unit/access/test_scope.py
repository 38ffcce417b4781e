import pytest

from archroute.v1 import router_pb2
from archroute_server.access.scope import METHODS, Scope, scope_of

SERVICE = router_pb2.DESCRIPTOR.services_by_name["RouterService"]


@pytest.mark.parametrize(
    ("method", "scope"),
    [
        ("/archroute.v1.RouterService/Route", Scope.ROUTE),
        ("/archroute.v1.RouterService/RouteStream", Scope.ROUTE),
        ("/archroute.v1.RouterService/ListPolicySets", Scope.READ),
        ("/archroute.v1.RouterService/GetPolicySet", Scope.READ),
        ("/archroute.v1.PolicySetService/ValidatePolicySet", Scope.READ),
        ("/archroute.v1.RouterService/PutPolicySet", Scope.ADMIN),
        ("/archroute.v1.PolicySetService/DeletePolicySet", Scope.ADMIN),
        ("/grpc.health.v1.Health/Check", Scope.HEALTH),
        ("/grpc.health.v1.Health/Watch", Scope.HEALTH),
        ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", Scope.REFLECTION),
        ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Scope.REFLECTION),
        ("/archroute.v1.RouterService/Shutdown", None),
        ("/archroute.v1.RouterService/RouteEverything", None),
        ("/other.v1.RouterService/Route", None),
        ("/archroute.v2.RouterService/GetPolicySet", None),
        ("archroute.v1.RouterService/Route", None),
        ("", None),
    ],
)
def test_a_method_asks_for_a_scope_or_is_for_nobody(method: str, scope: Scope | None) -> None:
    assert scope_of(method) is scope


@pytest.mark.parametrize("method", [method.name for method in SERVICE.methods])
def test_every_method_of_the_protocol_is_in_the_table(method: str) -> None:
    assert scope_of(f"/{SERVICE.full_name}/{method}") in {Scope.ROUTE, Scope.READ, Scope.ADMIN}


def test_every_scope_is_for_something() -> None:
    assert {scope for _, scope in METHODS} == set(Scope)
