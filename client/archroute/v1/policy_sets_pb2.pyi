from archroute.v1 import router_pb2 as _router_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Severity(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SEVERITY_UNSPECIFIED: _ClassVar[Severity]
    SEVERITY_WARNING: _ClassVar[Severity]
    SEVERITY_ERROR: _ClassVar[Severity]
SEVERITY_UNSPECIFIED: Severity
SEVERITY_WARNING: Severity
SEVERITY_ERROR: Severity

class ValidatePolicySetRequest(_message.Message):
    __slots__ = ("policy_set",)
    POLICY_SET_FIELD_NUMBER: _ClassVar[int]
    policy_set: _router_pb2.PolicySet
    def __init__(self, policy_set: _Optional[_Union[_router_pb2.PolicySet, _Mapping]] = ...) -> None: ...

class ValidatePolicySetResponse(_message.Message):
    __slots__ = ("findings", "revision", "prompt_tokens", "max_prompt_tokens")
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    PROMPT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    MAX_PROMPT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    findings: _containers.RepeatedCompositeFieldContainer[Finding]
    revision: str
    prompt_tokens: int
    max_prompt_tokens: int
    def __init__(self, findings: _Optional[_Iterable[_Union[Finding, _Mapping]]] = ..., revision: _Optional[str] = ..., prompt_tokens: _Optional[int] = ..., max_prompt_tokens: _Optional[int] = ...) -> None: ...

class Finding(_message.Message):
    __slots__ = ("severity", "code", "field", "description")
    SEVERITY_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    severity: Severity
    code: str
    field: str
    description: str
    def __init__(self, severity: _Optional[_Union[Severity, str]] = ..., code: _Optional[str] = ..., field: _Optional[str] = ..., description: _Optional[str] = ...) -> None: ...

class PutPolicySetRequest(_message.Message):
    __slots__ = ("policy_set", "if_revision")
    POLICY_SET_FIELD_NUMBER: _ClassVar[int]
    IF_REVISION_FIELD_NUMBER: _ClassVar[int]
    policy_set: _router_pb2.PolicySet
    if_revision: str
    def __init__(self, policy_set: _Optional[_Union[_router_pb2.PolicySet, _Mapping]] = ..., if_revision: _Optional[str] = ...) -> None: ...

class PutPolicySetResponse(_message.Message):
    __slots__ = ("policy_set",)
    POLICY_SET_FIELD_NUMBER: _ClassVar[int]
    policy_set: _router_pb2.PolicySet
    def __init__(self, policy_set: _Optional[_Union[_router_pb2.PolicySet, _Mapping]] = ...) -> None: ...

class DeletePolicySetRequest(_message.Message):
    __slots__ = ("name", "if_revision")
    NAME_FIELD_NUMBER: _ClassVar[int]
    IF_REVISION_FIELD_NUMBER: _ClassVar[int]
    name: str
    if_revision: str
    def __init__(self, name: _Optional[str] = ..., if_revision: _Optional[str] = ...) -> None: ...

class DeletePolicySetResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
