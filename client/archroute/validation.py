"""What a server says of a policy set that it was asked to check."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from archroute.v1 import policy_sets_pb2

__all__ = ["Finding", "Severity", "Validation"]


class Severity(enum.Enum):
    """How bad a finding is."""

    WARNING = "warning"
    """The policy set can be used, and may not decide as it is meant to."""

    ERROR = "error"
    """The policy set is refused."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with a policy set, or doubtful."""

    severity: Severity

    code: str
    """Stable and made for programs, for example `NAMES_ALIKE`."""

    field: str
    """A path such as `policies[2].name`."""

    description: str
    """What it is, and what to do about it."""


@dataclass(frozen=True, slots=True)
class Validation:
    """What a server finds about a policy set."""

    findings: tuple[Finding, ...]
    """Errors first."""

    revision: str
    """The revision that the set would have, as `sha256:<hex>`. Empty if there are errors."""

    prompt_tokens: int
    """How many of the model's tokens the policies take, what stands around them included. 0 if there are
    errors."""

    max_prompt_tokens: int
    """How many a prompt may have, the conversation included. 0 if there are errors."""

    @property
    def usable(self) -> bool:
        """Whether there are no errors."""
        return all(finding.severity is not Severity.ERROR for finding in self.findings)

    @classmethod
    def from_message(cls, message: policy_sets_pb2.ValidatePolicySetResponse) -> "Validation":
        """Reads an answer. A severity that this client does not know counts as an error."""
        findings = (
            Finding(_SEVERITIES.get(each.severity, Severity.ERROR), each.code, each.field, each.description)
            for each in message.findings
        )
        return cls(tuple(findings), message.revision, message.prompt_tokens, message.max_prompt_tokens)


_SEVERITIES: Mapping[int, Severity] = MappingProxyType(
    {
        policy_sets_pb2.SEVERITY_WARNING: Severity.WARNING,
        policy_sets_pb2.SEVERITY_ERROR: Severity.ERROR,
    }
)
