"""The command line: `python -m peers COMMAND`. Without a command, all of them one after the other."""

import argparse
from collections.abc import Collection, Sequence
from pathlib import Path

from peers import machine
from peers.agreeing import measure_agreement
from peers.curves import measure_curves
from peers.measuring import Effort, measure
from peers.peer import ENGINE, PEERS
from peers.preparing import prepare
from peers.report import write_report
from peers.results import BENCH, BUILD, Results
from peers.roofline import measure_roofline
from peers.shapes import SHAPES
from peers.starting import measure_start

COMMANDS = ("prepare", "measure", "roofline", "start", "curves", "agreement", "render")


def main(arguments: Sequence[str] | None = None) -> None:
    """Carry out the commands for each shape that is named."""
    options = _parser().parse_args(arguments)
    commands = _chosen("command", options.commands, COMMANDS)
    peers = [PEERS[name] for name in _chosen("peer", options.peers, PEERS)]
    curve_peers = [PEERS[name] for name in _chosen("peer", options.curve_peers, PEERS)]
    effort = Effort(options.seconds, options.burst_seconds, options.least, options.most)
    for name in _chosen("shape", options.shapes, SHAPES):
        results = Results(SHAPES[name], options.build)
        for command in COMMANDS:
            if command not in commands or command == "render":
                continue
            _say(f"{name}: {command}")
            if command == "prepare":
                prepare(results, peers, _say)
            elif command == "measure":
                for peer in peers:
                    _say(peer.title)
                    measure(peer, results, effort, options.threads, _say)
            elif command == "curves":
                for peer in curve_peers:
                    measure_curves(peer, results, effort, options.threads, _say)
            elif command == "roofline":
                measure_roofline(results, options.roofline_seconds, options.threads, _say)
            elif command == "start":
                measure_start(results, options.threads, _say)
            elif command == "agreement" and results.shape.trained:
                measure_agreement(results, options.examples, options.conversations, _say)
    if "render" in commands:
        _say(f"Written: {write_report(options.build, options.output)}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m peers", description=__doc__)
    parser.add_argument("commands", nargs="*", metavar="COMMAND", help=f"of {', '.join(COMMANDS)}")
    parser.add_argument(
        "--shapes", type=_names, default=["135m"], help=f"of {', '.join(SHAPES)} (default: 135m)"
    )
    parser.add_argument("--peers", type=_names, default=[], help=f"of {', '.join(PEERS)} (default: all)")
    parser.add_argument(
        "--curve-peers", type=_names, default=[ENGINE], help=f"whose curves to measure (default: {ENGINE})"
    )
    parser.add_argument("--threads", type=int, default=machine.cores(), help="that each peer computes with")
    parser.add_argument("--seconds", type=float, default=Effort.seconds, help="for each case of a peer")
    parser.add_argument(
        "--burst-seconds", type=float, default=Effort.burst_seconds, help="for each number of callers"
    )
    parser.add_argument(
        "--least", type=int, default=Effort.least, help="decisions of a case, however long they take"
    )
    parser.add_argument(
        "--most", type=int, default=Effort.most, help="decisions of a case, however fast they are"
    )
    parser.add_argument("--roofline-seconds", type=float, default=2.0, help="for each product")
    parser.add_argument("--examples", type=Path, nargs="*", default=[], help="files to compare precisions on")
    parser.add_argument("--conversations", type=int, default=500, help="to compare precisions on")
    parser.add_argument("--build", type=Path, default=BUILD, help="where everything is kept")
    parser.add_argument("--output", type=Path, default=BENCH, help="where RESULTS.md goes")
    return parser


def _names(text: str) -> list[str]:
    return text.split(",")


def _chosen(kind: str, names: Sequence[str], known: Collection[str]) -> list[str]:
    """Return what was named, or all that is known if nothing was."""
    for name in names:
        if name not in known:
            raise SystemExit(f"there is no {kind} {name!r}; there are {', '.join(known)}")
    return list(names or known)


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    main()
