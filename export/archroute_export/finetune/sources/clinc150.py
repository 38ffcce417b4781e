"""CLINC150: 150 intents of an assistant in 10 domains, and requests outside all of them.

Larson et al. 2019, "An Evaluation Dataset for Intent Classification and Out-of-Scope Prediction", CC BY 3.0.
The folder holds `domains.json` ({domain: [intent, ...]}) and `train.jsonl` and `val.jsonl`
({"text": ..., "intent": ... or null if out of scope}). The descriptions of the intents are this project's.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from archroute_export.finetune.sources.errors import SourceError
from archroute_export.finetune.sources.json_file import read_json, read_json_lines
from archroute_export.finetune.sources.labelled import LabelledPolicy, LabelledRequest, Source
from archroute_export.finetune.sources.yaml_file import Node, read_yaml
from archroute_server.router.message import Message, Role

NAME = "clinc150"
_PARTS = ("train.jsonl", "val.jsonl")


def read_clinc150(folder: Path, descriptions: Path) -> Source:
    """Read the data set's folder and the file with the descriptions of its intents. Raises `SourceError`."""
    domain_file = folder / "domains.json"
    intents = read_json(domain_file)
    if not isinstance(intents, dict) or not all(isinstance(names, list) for names in intents.values()):
        raise SourceError(domain_file, "must be an object with a list of intents for each domain")
    domain_of = {intent: domain for domain, names in intents.items() for intent in names}
    ids = {intent: f"{NAME}/{domain}/{intent}" for intent, domain in domain_of.items()}
    domains, policies, overlaps = [], [], set()
    for domain_node in read_yaml(descriptions).items():
        fields = domain_node.mapping(("domain", "descriptions", "policies"))
        domain = fields["domain"].text()
        if domain not in intents:
            raise fields["domain"].error(f"is {domain!r}, which {domain_file} does not have")
        domain_id = f"{NAME}/{domain}"
        domains.append(LabelledPolicy(domain_id, domain_id, domain, fields["descriptions"].texts()))
        for node in fields["policies"].items():
            entry = node.mapping(("name", "descriptions"), ("overlaps",))
            name = entry["name"].text()
            if domain_of.get(name) != domain:
                raise entry["name"].error(f"is {name!r}, which is no intent of {domain!r} in {domain_file}")
            policies.append(LabelledPolicy(ids[name], domain_id, name, entry["descriptions"].texts()))
            if "overlaps" in entry:
                overlaps |= {(ids[name], _known(other, ids)) for other in entry["overlaps"].items()}
    missing = ids.keys() - {policy.name for policy in policies}
    if missing:
        raise SourceError(descriptions, f"does not describe {', '.join(sorted(missing))}")
    return Source(NAME, tuple(domains), tuple(policies), frozenset(overlaps), tuple(_requests(folder, ids)))


def _requests(folder: Path, ids: Mapping[str, str]) -> Iterator[LabelledRequest]:
    for part in _PARTS:
        for line, entry in read_json_lines(folder / part):
            text, intent = entry.get("text"), entry.get("intent")
            if not isinstance(text, str) or not text.strip():
                raise SourceError(folder / part, "has no `text`", line=line)
            if intent is not None and intent not in ids:
                raise SourceError(folder / part, f"has the unknown intent {intent!r}", line=line)
            yield LabelledRequest((Message(Role.USER, text),), None if intent is None else ids[intent])


def _known(node: Node, ids: Mapping[str, str]) -> str:
    name = node.text()
    if name not in ids:
        raise node.error(f"is {name!r}, which is no intent")
    return ids[name]
