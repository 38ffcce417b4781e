"""From sources to the files of examples: train, validation, and one test for each source."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from archroute_export.errors import ExportError
from archroute_export.finetune.examples.catalogue import Catalogue
from archroute_export.finetune.examples.episodes import build_episodes
from archroute_export.finetune.examples.held_out import DEFAULT_TEST, TESTS, build_test
from archroute_export.finetune.examples.settings import VALIDATION_SOURCES, Settings
from archroute_export.finetune.examples.split import Split, divide
from archroute_export.finetune.examples.split_file import SplitRules
from archroute_export.finetune.sources.labelled import Source
from archroute_server.router.example import Example
from archroute_server.router.example_file import write_examples

VALIDATION_EXAMPLES = 240


@dataclass(frozen=True)
class BuiltFile:
    """A file that was written, and how many examples it holds."""

    path: Path
    examples: int


def build_files(
    sources: Sequence[Source],
    rules: SplitRules,
    output: Path,
    *,
    sets: int,
    seed: int,
    settings: Settings | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[BuiltFile]:
    """Write the files into the folder `output`; a split without requests gets none.

    The same sources, rules and seed give the same bytes. `progress` is told how many of the training sets are
    done. Raises `ExportError` if nothing is left to train on or a file cannot be written.
    """
    settings = settings or Settings()
    names = [source.name for source in sources]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise ExportError(f"two sources are named {repeated.pop()!r}; rename a file or a folder")
    catalogues = divide(sources, rules)
    if not catalogues[Split.TRAIN].requests:
        raise ExportError("no policy is left to train on: the split file keeps all domains for tests")
    # Single conversations, so that few examples cover many sets; mixed, since few policies validate.
    validating = replace(
        settings,
        sources=VALIDATION_SOURCES,
        requests_per_set=1,
        whole_dialogues=0.0,
        dialogue_domains=0.0,
        mixed_sources=max(0.6, settings.mixed_sources),
    )
    planned: dict[str, Iterable[Example]] = {
        "train.jsonl": _flat(catalogues[Split.TRAIN], settings, sets, f"{seed}/train", progress),
        "validation.jsonl": _flat(
            catalogues[Split.VALIDATION], validating, VALIDATION_EXAMPLES, f"{seed}/validation"
        ),
    }
    test = catalogues[Split.TEST]
    for source in test.sources:
        held_out = TESTS.get(source, DEFAULT_TEST)
        planned[f"test-{source}.jsonl"] = build_test(test, source, held_out, f"{seed}/test/{source}")
    return [
        BuiltFile(output / name, count)
        for name, examples in planned.items()
        if (count := _write(output / name, examples))
    ]


def _flat(
    catalogue: Catalogue,
    settings: Settings,
    sets: int,
    seed: str,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Iterable[Example]:
    for done, episode in enumerate(build_episodes(catalogue, settings, sets, seed), start=1):
        yield from episode
        progress(done, sets)


def _write(path: Path, examples: Iterable[Example]) -> int:
    iterator = iter(examples)
    first = next(iterator, None)
    try:
        if first is None:
            # What an earlier build left there would pass for this one's.
            path.unlink(missing_ok=True)
            return 0
        return write_examples(path, chain([first], iterator))
    except OSError as error:
        raise ExportError(f"cannot write {path}: {error.strerror or error}") from error
