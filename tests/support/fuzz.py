"""Coverage-guided fuzzing of one reader, in a process of its own, with atheris. A script:

    python tests/support/fuzz.py TARGET CORPUS_FOLDER [flags of libFuzzer]

It ends with a status other than 0 at the first input that is answered with anything but a declared error.
"""

import sys
from pathlib import Path

import atheris

# As pytest has it: what the tests support each other with, and what they share with the benchmarks.
_ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(_ROOT / "tests"), str(_ROOT / "bench")]

# The readers, and what they read with; each module more takes time at the start.
READERS = (
    "archroute_export.checkpoint",
    "archroute_server.bundle",
    "archroute_server.router",
    "archroute_server.rpc.convert",
    "gguf.gguf_reader",
    "yaml",
)

with atheris.instrument_imports(include=list(READERS)):
    from support.fuzz_targets import TARGETS, scratch_folder


def main() -> None:
    target = TARGETS[sys.argv[1]]
    corpus = Path(sys.argv[2])
    with scratch_folder() as scratch:
        folder = Path(scratch)
        for number, seed in enumerate(target.seeds(folder)):
            (corpus / f"seed-{number}").write_bytes(seed)

        def test_one_input(data: bytes) -> None:
            target.check(data, folder)

        atheris.Setup([sys.argv[0], *sys.argv[3:], str(corpus)], test_one_input)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
