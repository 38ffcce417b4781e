"""PolicySetService without its transport: policy sets are checked, stored and deleted."""

import asyncio

from archroute.v1 import policy_sets_pb2
from archroute_server.catalogue import findings
from archroute_server.catalogue.catalogue import PolicyCatalogue, PolicyEngine
from archroute_server.catalogue.findings import Finding, Severity
from archroute_server.router.errors import InvalidRequest, Violation, shorten
from archroute_server.router.policy import PolicySet
from archroute_server.rpc.admin import AdminGate
from archroute_server.rpc.convert import read_policies, write_policy_set
from archroute_server.rpc.errors import ServerStarting, ServerStopping
from archroute_server.telemetry.access_log import AccessEntry

SEVERITIES: dict[Severity, policy_sets_pb2.Severity] = {
    Severity.WARNING: policy_sets_pb2.SEVERITY_WARNING,
    Severity.ERROR: policy_sets_pb2.SEVERITY_ERROR,
}

_FIELD = "policy_set"


class PolicySetService:
    """Answers the methods of the protocol. Each raises what `rpc.status` has in its table."""

    def __init__(self, catalogue: PolicyCatalogue, admin: AdminGate, stopping: asyncio.Event) -> None:
        """Refuse requests once `stopping` is set."""
        self._catalogue = catalogue
        self._admin = admin
        self._stopping = stopping
        # One at a time, so that many of these calls leave room for decisions.
        self._validating = asyncio.Lock()

    async def validate_policy_set(
        self,
        request: policy_sets_pb2.ValidatePolicySetRequest,
        entry: AccessEntry,
        _remaining: float | None = None,
    ) -> policy_sets_pb2.ValidatePolicySetResponse:
        """Say what is wrong with a policy set and what is doubtful."""
        engine = self._engine()
        message = request.policy_set
        policies, default = read_policies(message.policies), message.default_policy or None
        if wrong := findings.errors(message.name, policies, default):
            return _response(wrong)
        policy_set = PolicySet(message.name, policies, default)
        async with self._validating:
            try:
                size = await engine.measure(policy_set)
            except InvalidRequest as error:
                return _response(findings.errors_of_model(error))
            doubtful = await asyncio.to_thread(findings.warnings, policies, size)
        entry.add(findings=len(doubtful))
        response = _response(doubtful)
        response.revision = policy_set.revision
        response.prompt_tokens, response.max_prompt_tokens = size.prompt_tokens, size.max_prompt_tokens
        return response

    async def put_policy_set(
        self,
        request: policy_sets_pb2.PutPolicySetRequest,
        entry: AccessEntry,
        _remaining: float | None = None,
    ) -> policy_sets_pb2.PutPolicySetResponse:
        """Store a policy set."""
        self._admin.check()
        self._engine()
        message = request.policy_set
        if not message.name:
            raise InvalidRequest(Violation(f"{_FIELD}.name", "is empty; a policy set of the store needs one"))
        try:
            policy_set = PolicySet(
                message.name, read_policies(message.policies), message.default_policy or None
            )
            entry.add(policy_set=policy_set.name, revision=policy_set.revision)
            await self._catalogue.put(policy_set, _if_revision(request))
        except InvalidRequest as error:
            raise _in_request_terms(error) from error
        return policy_sets_pb2.PutPolicySetResponse(policy_set=write_policy_set(policy_set, stored=True))

    async def delete_policy_set(
        self,
        request: policy_sets_pb2.DeletePolicySetRequest,
        entry: AccessEntry,
        _remaining: float | None = None,
    ) -> policy_sets_pb2.DeletePolicySetResponse:
        """Remove a policy set from the store."""
        self._admin.check()
        self._engine()
        if not request.name:
            raise InvalidRequest(Violation("name", "is empty; name the policy set to delete"))
        entry.add(policy_set=shorten(request.name))
        await self._catalogue.delete(request.name, _if_revision(request))
        return policy_sets_pb2.DeletePolicySetResponse()

    def _engine(self) -> PolicyEngine:
        if self._stopping.is_set():
            raise ServerStopping
        if self._catalogue.engine is None:
            raise ServerStarting
        return self._catalogue.engine


def _if_revision(
    request: policy_sets_pb2.PutPolicySetRequest | policy_sets_pb2.DeletePolicySetRequest,
) -> str | None:
    return request.if_revision if request.HasField("if_revision") else None


def _in_request_terms(error: InvalidRequest) -> InvalidRequest:
    return InvalidRequest(
        *(Violation(f"{_FIELD}.{each.field}", each.description) for each in error.violations)
    )


def _response(found: list[Finding]) -> policy_sets_pb2.ValidatePolicySetResponse:
    return policy_sets_pb2.ValidatePolicySetResponse(
        findings=[
            policy_sets_pb2.Finding(
                severity=SEVERITIES[each.severity],
                code=each.code,
                field=each.field,
                description=each.description,
            )
            for each in found
        ]
    )
