"""Whether the router answers otherwise when nothing that matters changed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from archroute_evaluation.metrics.proportion import Proportion


@dataclass(frozen=True, slots=True)
class Flips:
    """How often an answer changed when the example was asked again in another form.

    `examples` counts an example once if any of its further answers differs from the first one, `answers`
    each further answer by itself. `failed` further requests were not answered and count in neither.
    """

    examples: Proportion
    answers: Proportion
    failed: int = 0


def flips(first: Mapping[int, str], further: Iterable[tuple[int, str]], failed: int = 0) -> Flips:
    """Compare further answers, each with its line, with the first answers by line.

        flip rate = examples with a further answer that differs / examples with a further answer

    Lines without a first answer are left out.
    """
    changed: dict[int, list[bool]] = {}
    for line, answer in further:
        if line in first:
            changed.setdefault(line, []).append(answer != first[line])
    return Flips(
        examples=Proportion.of(any(each) for each in changed.values()),
        answers=Proportion.of(one for each in changed.values() for one in each),
        failed=failed,
    )
