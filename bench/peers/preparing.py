"""Making all that is needed before anything is measured. What is there already is left as it is."""

import shutil
import subprocess
from collections.abc import Callable, Sequence

from peers.case_making import CaseMaker
from peers.cases import write_cases
from peers.conversion.checkpoint_folder import embedded_model, write_checkpoint
from peers.conversion.peer_files import make
from peers.peer import ENGINE, PEERS, Peer
from peers.results import Results

REFERENCE = "archroute-fp32"


def prepare(results: Results, peers: Sequence[Peer], say: Callable[[str], None]) -> None:
    """Write the checkpoint, the requests, and the files of the peers that are installed.

    A peer whose files cannot be made is named, and the others go on.
    """
    folder = results.folder
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / "checkpoint"
    if not checkpoint.is_dir():
        say(f"Writing {checkpoint}")
        unfinished = folder / ".unfinished-checkpoint"
        shutil.rmtree(unfinished, ignore_errors=True)
        write_checkpoint(results.shape, embedded_model(say), unfinished)
        unfinished.replace(checkpoint)
    _make(PEERS[ENGINE].files, results, say)
    if results.shape.trained:
        _make(REFERENCE, results, say)
    if not (results.cases.is_file() and results.curve_cases.is_file()):
        say(f"Writing {results.cases}")
        maker = CaseMaker.of_bundle(folder / PEERS[ENGINE].files)
        write_cases(results.cases, list(maker.matrix()))
        write_cases(results.curve_cases, list(maker.curves()))
    for peer in peers:
        if module := peer.missing():
            say(f"{peer.title}: skipped, the module {module} is not installed")
        elif not (folder / peer.files).exists():
            try:
                _make(peer.files, results, say)
            except subprocess.CalledProcessError as error:
                say(f"{peer.title}: its files could not be made: {error}")
            # Any library may fail in any way; the others are still worth measuring.
            except Exception as error:  # noqa: BLE001
                say(f"{peer.title}: its files could not be made: {type(error).__name__}: {error}")


def _make(files: str, results: Results, say: Callable[[str], None]) -> None:
    if not (results.folder / files).exists():
        say(f"Writing {results.folder / files}")
        make(files, results.folder)
