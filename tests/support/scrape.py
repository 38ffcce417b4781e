"""Reading metrics as Prometheus does."""

import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

Labels = frozenset[tuple[str, str]]


@dataclass(frozen=True)
class Scrape:
    """What one look at the metrics gave."""

    text: str
    samples: Mapping[tuple[str, Labels], float]

    @classmethod
    def read(cls, text: str) -> "Scrape":
        families = text_string_to_metric_families(text)
        return cls(
            text,
            {
                (sample.name, frozenset(sample.labels.items())): sample.value
                for family in families
                for sample in family.samples
            },
        )

    def value(self, name: str, **labels: str) -> float:
        """The value of one series; 0 if it is not there."""
        return self.samples.get((name, frozenset(labels.items())), 0.0)

    def by(self, name: str, *labels: str) -> dict[str | tuple[str, ...], float]:
        """The values of all series of a name, by the values of these labels; those that are 0 left out."""
        values: dict[str | tuple[str, ...], float] = {}
        for (found, pairs), value in self.samples.items():
            if found == name and value:
                of = tuple(dict(pairs).get(label, "") for label in labels)
                values[of[0] if len(of) == 1 else of] = value
        return values

    def names(self) -> set[str]:
        return {name for name, _ in self.samples}


def scrape(url: str) -> Scrape:
    with urllib.request.urlopen(url, timeout=30) as response:
        return Scrape.read(response.read().decode())


def read_registry(registry: CollectorRegistry) -> Scrape:
    return Scrape.read(generate_latest(registry).decode())
