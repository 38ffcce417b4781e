from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Role(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROLE_UNSPECIFIED: _ClassVar[Role]
    ROLE_SYSTEM: _ClassVar[Role]
    ROLE_DEVELOPER: _ClassVar[Role]
    ROLE_USER: _ClassVar[Role]
    ROLE_ASSISTANT: _ClassVar[Role]
    ROLE_TOOL: _ClassVar[Role]

class Outcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OUTCOME_UNSPECIFIED: _ClassVar[Outcome]
    OUTCOME_MATCHED: _ClassVar[Outcome]
    OUTCOME_OTHER: _ClassVar[Outcome]
    OUTCOME_LOW_CONFIDENCE: _ClassVar[Outcome]
    OUTCOME_FALLBACK: _ClassVar[Outcome]

class FallbackReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FALLBACK_REASON_UNSPECIFIED: _ClassVar[FallbackReason]
    FALLBACK_REASON_DECIDE_BY_PASSED: _ClassVar[FallbackReason]
    FALLBACK_REASON_DECIDE_BY_UNREACHABLE: _ClassVar[FallbackReason]
ROLE_UNSPECIFIED: Role
ROLE_SYSTEM: Role
ROLE_DEVELOPER: Role
ROLE_USER: Role
ROLE_ASSISTANT: Role
ROLE_TOOL: Role
OUTCOME_UNSPECIFIED: Outcome
OUTCOME_MATCHED: Outcome
OUTCOME_OTHER: Outcome
OUTCOME_LOW_CONFIDENCE: Outcome
OUTCOME_FALLBACK: Outcome
FALLBACK_REASON_UNSPECIFIED: FallbackReason
FALLBACK_REASON_DECIDE_BY_PASSED: FallbackReason
FALLBACK_REASON_DECIDE_BY_UNREACHABLE: FallbackReason

class Part(_message.Message):
    __slots__ = ("text",)
    TEXT_FIELD_NUMBER: _ClassVar[int]
    text: str
    def __init__(self, text: _Optional[str] = ...) -> None: ...

class Message(_message.Message):
    __slots__ = ("role", "parts")
    ROLE_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    role: Role
    parts: _containers.RepeatedCompositeFieldContainer[Part]
    def __init__(self, role: _Optional[_Union[Role, str]] = ..., parts: _Optional[_Iterable[_Union[Part, _Mapping]]] = ...) -> None: ...

class Policy(_message.Message):
    __slots__ = ("name", "description", "models")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    name: str
    description: str
    models: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., description: _Optional[str] = ..., models: _Optional[_Iterable[str]] = ...) -> None: ...

class InlinePolicies(_message.Message):
    __slots__ = ("policies", "default_policy")
    POLICIES_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_POLICY_FIELD_NUMBER: _ClassVar[int]
    policies: _containers.RepeatedCompositeFieldContainer[Policy]
    default_policy: str
    def __init__(self, policies: _Optional[_Iterable[_Union[Policy, _Mapping]]] = ..., default_policy: _Optional[str] = ...) -> None: ...

class RouteOptions(_message.Message):
    __slots__ = ("top_k", "min_probability", "decide_by")
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    MIN_PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    DECIDE_BY_FIELD_NUMBER: _ClassVar[int]
    top_k: int
    min_probability: float
    decide_by: _duration_pb2.Duration
    def __init__(self, top_k: _Optional[int] = ..., min_probability: _Optional[float] = ..., decide_by: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class RouteRequest(_message.Message):
    __slots__ = ("policy_set", "inline_policies", "messages", "options", "session_id")
    POLICY_SET_FIELD_NUMBER: _ClassVar[int]
    INLINE_POLICIES_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    policy_set: str
    inline_policies: InlinePolicies
    messages: _containers.RepeatedCompositeFieldContainer[Message]
    options: RouteOptions
    session_id: str
    def __init__(self, policy_set: _Optional[str] = ..., inline_policies: _Optional[_Union[InlinePolicies, _Mapping]] = ..., messages: _Optional[_Iterable[_Union[Message, _Mapping]]] = ..., options: _Optional[_Union[RouteOptions, _Mapping]] = ..., session_id: _Optional[str] = ...) -> None: ...

class RankedPolicy(_message.Message):
    __slots__ = ("policy", "probability")
    POLICY_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    policy: str
    probability: float
    def __init__(self, policy: _Optional[str] = ..., probability: _Optional[float] = ...) -> None: ...

class Revisions(_message.Message):
    __slots__ = ("bundle_digest", "prompt_variant", "policy_set", "policy_set_revision", "provider", "temperature")
    BUNDLE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    PROMPT_VARIANT_FIELD_NUMBER: _ClassVar[int]
    POLICY_SET_FIELD_NUMBER: _ClassVar[int]
    POLICY_SET_REVISION_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    bundle_digest: str
    prompt_variant: str
    policy_set: str
    policy_set_revision: str
    provider: str
    temperature: float
    def __init__(self, bundle_digest: _Optional[str] = ..., prompt_variant: _Optional[str] = ..., policy_set: _Optional[str] = ..., policy_set_revision: _Optional[str] = ..., provider: _Optional[str] = ..., temperature: _Optional[float] = ...) -> None: ...

class TokenUsage(_message.Message):
    __slots__ = ("prompt_tokens", "cached_tokens", "dropped_tokens", "dropped_messages", "forward_passes")
    PROMPT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CACHED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    DROPPED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    DROPPED_MESSAGES_FIELD_NUMBER: _ClassVar[int]
    FORWARD_PASSES_FIELD_NUMBER: _ClassVar[int]
    prompt_tokens: int
    cached_tokens: int
    dropped_tokens: int
    dropped_messages: int
    forward_passes: int
    def __init__(self, prompt_tokens: _Optional[int] = ..., cached_tokens: _Optional[int] = ..., dropped_tokens: _Optional[int] = ..., dropped_messages: _Optional[int] = ..., forward_passes: _Optional[int] = ...) -> None: ...

class Timings(_message.Message):
    __slots__ = ("total", "queue", "tokenize", "inference")
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    QUEUE_FIELD_NUMBER: _ClassVar[int]
    TOKENIZE_FIELD_NUMBER: _ClassVar[int]
    INFERENCE_FIELD_NUMBER: _ClassVar[int]
    total: _duration_pb2.Duration
    queue: _duration_pb2.Duration
    tokenize: _duration_pb2.Duration
    inference: _duration_pb2.Duration
    def __init__(self, total: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., queue: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., tokenize: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., inference: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class RouteResponse(_message.Message):
    __slots__ = ("policy", "outcome", "probability", "ranking", "models", "revisions", "tokens", "timings", "session_id", "from_decision_cache", "fallback_reason")
    POLICY_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    RANKING_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    REVISIONS_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    FROM_DECISION_CACHE_FIELD_NUMBER: _ClassVar[int]
    FALLBACK_REASON_FIELD_NUMBER: _ClassVar[int]
    policy: str
    outcome: Outcome
    probability: float
    ranking: _containers.RepeatedCompositeFieldContainer[RankedPolicy]
    models: _containers.RepeatedScalarFieldContainer[str]
    revisions: Revisions
    tokens: TokenUsage
    timings: Timings
    session_id: str
    from_decision_cache: bool
    fallback_reason: FallbackReason
    def __init__(self, policy: _Optional[str] = ..., outcome: _Optional[_Union[Outcome, str]] = ..., probability: _Optional[float] = ..., ranking: _Optional[_Iterable[_Union[RankedPolicy, _Mapping]]] = ..., models: _Optional[_Iterable[str]] = ..., revisions: _Optional[_Union[Revisions, _Mapping]] = ..., tokens: _Optional[_Union[TokenUsage, _Mapping]] = ..., timings: _Optional[_Union[Timings, _Mapping]] = ..., session_id: _Optional[str] = ..., from_decision_cache: bool = ..., fallback_reason: _Optional[_Union[FallbackReason, str]] = ...) -> None: ...

class RouteStreamRequest(_message.Message):
    __slots__ = ("request_id", "request")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    request: RouteRequest
    def __init__(self, request_id: _Optional[str] = ..., request: _Optional[_Union[RouteRequest, _Mapping]] = ...) -> None: ...

class RouteStreamResponse(_message.Message):
    __slots__ = ("request_id", "response", "error")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    response: RouteResponse
    error: RouteError
    def __init__(self, request_id: _Optional[str] = ..., response: _Optional[_Union[RouteResponse, _Mapping]] = ..., error: _Optional[_Union[RouteError, _Mapping]] = ...) -> None: ...

class RouteError(_message.Message):
    __slots__ = ("code", "reason", "message", "field_violations", "retry_after")
    CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    FIELD_VIOLATIONS_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_FIELD_NUMBER: _ClassVar[int]
    code: int
    reason: str
    message: str
    field_violations: _containers.RepeatedCompositeFieldContainer[FieldViolation]
    retry_after: _duration_pb2.Duration
    def __init__(self, code: _Optional[int] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ..., field_violations: _Optional[_Iterable[_Union[FieldViolation, _Mapping]]] = ..., retry_after: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class FieldViolation(_message.Message):
    __slots__ = ("field", "description")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    field: str
    description: str
    def __init__(self, field: _Optional[str] = ..., description: _Optional[str] = ...) -> None: ...

class ListPolicySetsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListPolicySetsResponse(_message.Message):
    __slots__ = ("policy_sets",)
    POLICY_SETS_FIELD_NUMBER: _ClassVar[int]
    policy_sets: _containers.RepeatedCompositeFieldContainer[PolicySetSummary]
    def __init__(self, policy_sets: _Optional[_Iterable[_Union[PolicySetSummary, _Mapping]]] = ...) -> None: ...

class PolicySetSummary(_message.Message):
    __slots__ = ("name", "revision", "policy_count", "is_default", "stored")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    POLICY_COUNT_FIELD_NUMBER: _ClassVar[int]
    IS_DEFAULT_FIELD_NUMBER: _ClassVar[int]
    STORED_FIELD_NUMBER: _ClassVar[int]
    name: str
    revision: str
    policy_count: int
    is_default: bool
    stored: bool
    def __init__(self, name: _Optional[str] = ..., revision: _Optional[str] = ..., policy_count: _Optional[int] = ..., is_default: bool = ..., stored: bool = ...) -> None: ...

class GetPolicySetRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetPolicySetResponse(_message.Message):
    __slots__ = ("policy_set",)
    POLICY_SET_FIELD_NUMBER: _ClassVar[int]
    policy_set: PolicySet
    def __init__(self, policy_set: _Optional[_Union[PolicySet, _Mapping]] = ...) -> None: ...

class PolicySet(_message.Message):
    __slots__ = ("name", "revision", "policies", "default_policy", "stored")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    POLICIES_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_POLICY_FIELD_NUMBER: _ClassVar[int]
    STORED_FIELD_NUMBER: _ClassVar[int]
    name: str
    revision: str
    policies: _containers.RepeatedCompositeFieldContainer[Policy]
    default_policy: str
    stored: bool
    def __init__(self, name: _Optional[str] = ..., revision: _Optional[str] = ..., policies: _Optional[_Iterable[_Union[Policy, _Mapping]]] = ..., default_policy: _Optional[str] = ..., stored: bool = ...) -> None: ...
