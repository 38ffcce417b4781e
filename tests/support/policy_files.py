"""Policies files and sets for tests of what a server holds."""

from pathlib import Path

from archroute_server.catalogue.catalogue import PolicyCatalogue
from archroute_server.catalogue.statistics import ReloadResult
from archroute_server.router.policy import Policy, PolicySet


def policy_set(name: str, mark: object = "", *, default_policy: str | None = None) -> PolicySet:
    """A set whose policies, models and revision all tell its mark."""
    return PolicySet(
        name,
        tuple(
            Policy(
                f"{kind} {mark}".strip(), f"What is about {kind}, {mark}.", (f"model {kind} {mark}".strip(),)
            )
            for kind in ("code", "talk")
        ),
        default_policy,
    )


def write_sets(path: Path, *sets: PolicySet, default: str = "") -> None:
    """Write a policies file as an editor does that writes another and renames it."""
    lines = [f"default: {default}"] if default else []
    lines.append("policy_sets:")
    for each in sets:
        lines += [f"  - name: {each.name}", "    policies:"]
        for policy in each.policies:
            models = ", ".join(policy.models)
            lines.append(
                f"      - {{name: {policy.name}, description: '{policy.description}', models: [{models}]}}"
            )
    other = path.with_name(path.name + "~")
    other.write_text("\n".join(lines) + "\n", encoding="utf-8")
    other.rename(path)


def revisions(catalogue: PolicyCatalogue) -> dict[str, str]:
    """The revision of each set that is held."""
    return {name: catalogue.current.get(name).revision for name in catalogue.current.names()}


def counts(catalogue: PolicyCatalogue) -> dict[ReloadResult, int]:
    """The reloads so far."""
    statistics = catalogue.statistics
    return {
        ReloadResult.APPLIED: statistics.applied,
        ReloadResult.REFUSED: statistics.refused,
        ReloadResult.FAILED: statistics.failed,
    }
