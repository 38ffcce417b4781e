"""PolicySetService on a real socket, in front of an engine without a model."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from archroute.v1 import policy_sets_pb2, router_pb2
from archroute.v1.policy_sets_pb2_grpc import PolicySetServiceStub
from archroute.v1.router_pb2_grpc import RouterServiceStub
from archroute_server.catalogue import catalogue as catalogue_module
from archroute_server.catalogue.catalogue import PolicyCatalogue
from archroute_server.catalogue.errors import PolicyStoreUnwritable
from archroute_server.catalogue.store import PolicySetStore
from archroute_server.engine.warm_up import WARM_UP_MESSAGES
from archroute_server.router.errors import InvalidRequest, Violation
from archroute_server.rpc.address import Address
from archroute_server.rpc.convert import write_policy_set
from support.fake_engine import FakeEngine
from support.policy_files import policy_set, revisions, write_sets
from support.rpc_calls import Log, ask, new_server, refusal

MINE, CHANGED, OF_FILE = policy_set("mine", 1), policy_set("mine", 2), policy_set("of file")
TOO_LONG = InvalidRequest(Violation("policies", "take 9000 tokens"))
WARM_UP = WARM_UP_MESSAGES[-1].text


@dataclass
class Served:
    engine: FakeEngine
    catalogue: PolicyCatalogue
    policy_sets: Any  # the generated stubs have no types
    router: Any

    async def put(self, changed: Any, **fields: Any) -> Any:
        return await self.policy_sets.PutPolicySet(put_request(changed, **fields))

    async def delete(self, name: str, **fields: Any) -> Any:
        return await self.policy_sets.DeletePolicySet(
            policy_sets_pb2.DeletePolicySetRequest(name=name, **fields)
        )


def put_request(changed: Any, **fields: Any) -> policy_sets_pb2.PutPolicySetRequest:
    return policy_sets_pb2.PutPolicySetRequest(policy_set=write_policy_set(changed, stored=False), **fields)


Serve = Callable[..., AbstractAsyncContextManager[Served]]


@pytest.fixture
def serve(tmp_path: Path, log: Log) -> Serve:
    @asynccontextmanager
    async def served(
        *, store: bool = True, allow_admin: bool = True, ready: bool = True
    ) -> AsyncIterator[Served]:
        write_sets(tmp_path / "policies.yaml", OF_FILE)
        catalogue = PolicyCatalogue.open(tmp_path / "policies.yaml", tmp_path / "store" if store else None)
        server, service = new_server(catalogue=catalogue, allow_admin=allow_admin)
        address, engine = await server.start(Address("127.0.0.1", 0)), FakeEngine()
        if ready:
            await catalogue.use(engine)
            service.open(engine)
        async with grpc.aio.insecure_channel(str(address)) as channel:
            yield Served(engine, catalogue, PolicySetServiceStub(channel), RouterServiceStub(channel))
        await server.drain(0)
        await server.stop()
        await catalogue.close()

    return served


async def test_a_set_is_stored_listed_shown_decided_by_and_deleted(serve: Serve, log: Log) -> None:
    async with serve() as served:
        stored = (await served.put(MINE, if_revision="")).policy_set
        assert (stored.name, stored.revision, stored.stored) == ("mine", MINE.revision, True)
        listed = (await served.router.ListPolicySets(router_pb2.ListPolicySetsRequest())).policy_sets
        assert [(each.name, each.stored, each.is_default) for each in listed] == [
            ("mine", True, False),
            ("of file", False, True),
        ]
        request = router_pb2.GetPolicySetRequest(name="mine")
        assert (await served.router.GetPolicySet(request)).policy_set == stored
        answer = await served.router.Route(ask("hi", policy_set="mine"))
        assert answer.revisions.policy_set_revision == MINE.revision
        await served.put(CHANGED, if_revision=MINE.revision)
        answer = await served.router.Route(ask("hi", policy_set="mine"))
        assert answer.revisions.policy_set_revision == CHANGED.revision
        assert answer.policy == "code 2"
        await served.delete("mine", if_revision=CHANGED.revision)
        gone = await refusal(served.router.Route(ask("hi", policy_set="mine")))
        assert (gone.code, gone.reason) == (grpc.StatusCode.NOT_FOUND, "POLICY_SET_NOT_FOUND")
    assert [line["method"] for line in log.lines("request") if "PolicySet" in line["method"]] == [
        "PutPolicySet",
        "ListPolicySets",
        "GetPolicySet",
        "PutPolicySet",
        "DeletePolicySet",
    ]


async def test_a_request_under_way_is_decided_by_the_set_that_it_began_with(serve: Serve) -> None:
    async with serve() as served:
        await served.put(MINE)
        hold = served.engine.hold("slow")
        call = asyncio.ensure_future(served.router.Route(ask("slow", policy_set="mine")))
        await hold.started.wait()
        await served.put(CHANGED)
        hold.release.set()
        answer = await call
        assert answer.revisions.policy_set_revision == MINE.revision
        assert (answer.policy, list(answer.models)) == ("code 1", ["model code 1"])


async def test_changes_are_refused_unless_they_are_allowed(serve: Serve) -> None:
    async with serve(allow_admin=False) as served:
        for call in (served.put(MINE), served.delete("mine")):
            refused = await refusal(call)
            assert (refused.code, refused.reason) == (grpc.StatusCode.PERMISSION_DENIED, "ADMIN_DISABLED")
            assert "--allow-admin" in refused.message
        assert revisions(served.catalogue) == {"of file": OF_FILE.revision}
        # Which changes nothing.
        assert not (await validated(served, MINE)).findings


async def test_another_revision_is_told(serve: Serve) -> None:
    async with serve() as served:
        await served.put(MINE)
        for call in (served.put(CHANGED, if_revision=""), served.delete("mine", if_revision="sha256:1")):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call
            assert caught.value.code() is grpc.StatusCode.ABORTED
            metadata = dict(caught.value.trailing_metadata())
            info = ErrorInfo()
            assert Status.FromString(metadata["grpc-status-details-bin"]).details[0].Unpack(info)
            assert info.reason == "REVISION_MISMATCH"
            assert info.metadata == {"current_revision": MINE.revision}


@pytest.mark.parametrize(
    ("name", "code", "reason"),
    [
        ("of file", grpc.StatusCode.FAILED_PRECONDITION, "POLICY_SET_READ_ONLY"),
        ("", grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST"),
    ],
)
async def test_names_that_cannot_be_changed(
    serve: Serve, name: str, code: grpc.StatusCode, reason: str
) -> None:
    async with serve() as served:
        for call in (served.put(policy_set(name)), served.delete(name)):
            refused = await refusal(call)
            assert (refused.code, refused.reason) == (code, reason)


async def test_what_is_not_there_cannot_be_deleted(serve: Serve) -> None:
    async with serve() as served:
        refused = await refusal(served.delete("absent", if_revision="sha256:1"))
        assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "POLICY_SET_NOT_FOUND")


async def test_a_server_without_a_store_says_so(serve: Serve) -> None:
    async with serve(store=False) as served:
        refused = await refusal(served.put(MINE))
        assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "NO_POLICY_STORE")


async def test_a_wrong_set_is_refused_field_by_field(serve: Serve) -> None:
    async with serve() as served:
        message = write_policy_set(MINE, stored=False)
        message.policies[1].name = "other"
        request = policy_sets_pb2.PutPolicySetRequest(policy_set=message)
        refused = await refusal(served.policy_sets.PutPolicySet(request))
        assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
        assert list(refused.fields) == ["policy_set.policies[1].name"]
        served.engine.fail(WARM_UP, TOO_LONG)
        refused = await refusal(served.put(MINE))
        assert refused.fields == {"policy_set.policies": "take 9000 tokens"}
        assert revisions(served.catalogue) == {"of file": OF_FILE.revision}


async def test_limits_of_the_store(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: PolicySetStore, changed: object) -> None:
        raise PolicyStoreUnwritable("No space left on device")

    async with serve() as served:
        with monkeypatch.context() as patched:
            patched.setattr(PolicySetStore, "write", refuse)
            failed = await refusal(served.put(MINE))
        assert (failed.code, failed.reason) == (grpc.StatusCode.INTERNAL, "POLICY_STORE_UNWRITABLE")
        assert "No space left on device" in failed.message
        monkeypatch.setattr(catalogue_module, "MAX_STORED_SETS", 0)
        full = await refusal(served.put(MINE))
        assert (full.code, full.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "POLICY_STORE_FULL")


async def test_a_server_that_is_starting_changes_nothing(serve: Serve) -> None:
    async with serve(ready=False) as served:
        for call in (served.put(MINE), served.delete("mine"), validated(served, MINE)):
            refused = await refusal(call)
            assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "SERVER_STARTING")


async def validated(served: Served, checked: Any) -> Any:
    request = policy_sets_pb2.ValidatePolicySetRequest(policy_set=write_policy_set(checked, stored=False))
    return await served.policy_sets.ValidatePolicySet(request)


async def test_a_good_set_has_a_revision_and_a_size(serve: Serve) -> None:
    async with serve() as served:
        answer = await validated(served, MINE)
        assert not answer.findings
        assert answer.revision == MINE.revision
        assert (answer.prompt_tokens, answer.max_prompt_tokens) == (150, 4096)
        assert revisions(served.catalogue) == {"of file": OF_FILE.revision}


async def test_what_is_wrong_and_what_is_doubtful(serve: Serve) -> None:
    async with serve() as served:
        message = router_pb2.PolicySet(policies=[router_pb2.Policy(name="other")] * 9)
        request = policy_sets_pb2.ValidatePolicySetRequest(policy_set=message)
        answer = await served.policy_sets.ValidatePolicySet(request)
        assert len(answer.findings) == 18
        assert {each.severity for each in answer.findings} == {policy_sets_pb2.SEVERITY_ERROR}
        assert not answer.revision
        del message.policies[1:]
        message.policies[0].CopyFrom(router_pb2.Policy(name="Others", description="Others"))
        request = policy_sets_pb2.ValidatePolicySetRequest(policy_set=message)
        answer = await served.policy_sets.ValidatePolicySet(request)
        (warning,) = answer.findings
        assert warning.severity == policy_sets_pb2.SEVERITY_WARNING
        assert (warning.code, warning.field) == ("DESCRIPTION_REPEATS_NAME", "policies[0].description")
        assert answer.revision


async def test_a_set_that_the_model_cannot_decide_by_is_found_wrong(serve: Serve) -> None:
    async with serve() as served:

        async def refuse(policies: object) -> None:
            raise TOO_LONG

        served.engine.measure = refuse  # type: ignore[method-assign, assignment]
        (finding,) = (await validated(served, MINE)).findings
        assert finding.severity == policy_sets_pb2.SEVERITY_ERROR
        assert (finding.code, finding.field) == ("NOT_SERVABLE", "policies")
