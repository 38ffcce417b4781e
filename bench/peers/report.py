"""RESULTS.md, out of what was measured."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from peers import agreeing, curves, plots, roofline, starting
from peers.figures import Latency, same_choice
from peers.measuring import CALLERS, MAIN_CASE
from peers.peer import ENGINE, PEERS, SERVER, Peer
from peers.results import Results
from peers.shapes import SHAPES, Shape
from peers.tables import markdown_table

# Unquantized, and its own authors' code: what the weights say.
_REFERENCE = "transformers-fp32"

# What the shape has to reach: archroute's p50 over the best peer's.
_BARS = {"135m": 0.25, "0.5b": 0.25, "1.5b": 0.2}


def write_report(build: Path, output: Path) -> Path:
    """Write RESULTS.md and its plots into the folder `output`, and return its path.

    Whatever was not measured is left out, and what was tried and did not work is named.
    """
    measured = [
        Measured(shape, Results(shape, build)) for shape in SHAPES.values() if (build / shape.name).is_dir()
    ]
    path = output / "RESULTS.md"
    lines = [*_head(measured)]
    for each in measured:
        if each.finished():
            lines += each.section()
    path.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    plots.draw_all([each.results for each in measured if each.finished()], output)
    return path


def _head(measured: list["Measured"]) -> Iterator[str]:
    yield "# Results"
    yield ""
    yield "Written by `make bench-peers`; [README](README.md) says what is measured and how."
    yield ""
    described = [each for each in measured if each.finished()]
    if not described:
        yield "Nothing has been measured yet."
        return
    machine, versions, threads = described[0].machine()
    for key, value in machine.items():
        yield f"- {key.capitalize()}: {value}"
    yield f"- Threads: {threads}"
    yield f"- Versions: {', '.join(f'{name} {number}' for name, number in sorted(versions.items()))}"
    yield ""


class Measured:
    """The results of one shape, read once."""

    def __init__(self, shape: Shape, results: Results) -> None:
        self.shape = shape
        self.results = results
        self._found = {name: results.read(name) for name in PEERS}

    def finished(self) -> list[Peer]:
        """Return the peers that answered the main case."""
        return [peer for peer in PEERS.values() if MAIN_CASE in self._found[peer.name].get("cases", {})]

    def machine(self) -> tuple[dict[str, str], dict[str, str], int]:
        """Return the machine, the versions of all that was measured on it, and the number of threads."""
        found = [self._found[peer.name] for peer in self.finished()]
        versions = {name: number for each in found for name, number in each["versions"].items()}
        return found[-1]["machine"], versions, found[-1]["threads"]

    def section(self) -> Iterator[str]:
        """Write the part of one shape."""
        yield f"## {self.shape.title}"
        yield ""
        yield f"Main case: {MAIN_CASE}, one caller; policies warm, conversations new. Milliseconds."
        yield ""
        yield from markdown_table(self._main_header(), [self._main_row(peer) for peer in self.finished()])
        yield ""
        yield from self._left_out()
        yield "All cases, p50 / p95 / p99 in milliseconds:"
        yield ""
        cases = list(self._found[self.finished()[0].name]["cases"])
        yield from markdown_table(
            ["", *cases], [[peer.title, *self._percentiles(peer, cases)] for peer in self.finished()]
        )
        yield ""
        yield from self._bars()
        yield f"![Latency and decisions per second]({plots.peers_file(self.shape)})"
        yield ""
        if self.results.read(curves.file_name(PEERS[ENGINE])):
            yield f"![Latency over the work]({plots.curves_file(self.shape)})"
            yield ""

    def p50(self, name: str, case: str = MAIN_CASE) -> float | None:
        """Return a peer's median latency in milliseconds, None if it was not measured."""
        measured = self._found[name].get("cases", {}).get(case)
        return Latency.of(measured["seconds"]).p50 if measured else None

    def best_peer(self) -> tuple[Peer, float] | None:
        """Return the fastest peer that is not archroute, with its median latency in the main case."""
        others = [(peer, self.p50(peer.name) or 0.0) for peer in self.finished() if not peer.ours]
        return min(others, key=lambda pair: pair[1], default=None)

    def _main_header(self) -> list[str]:
        header = ["", "p50", "p95", "p99", "decisions"]
        header += [f"per second, {callers} caller{'s' * (callers > 1)}" for callers in CALLERS]
        header += ["peak memory, MiB", "p50 over the best peer's"]
        return [*header, "same choice as fp32"] if self.shape.trained else header

    def _main_row(self, peer: Peer) -> list[str]:
        found = self._found[peer.name]
        latency = Latency.of(found["cases"][MAIN_CASE]["seconds"])
        best = self.best_peer()
        row = [peer.title, f"{latency.p50:.1f}", f"{latency.p95:.1f}", f"{latency.p99:.1f}"]
        row.append(str(latency.decisions))
        for callers in CALLERS:
            burst = found["bursts"].get(str(callers))
            row.append(f"{burst['decisions'] / burst['seconds']:.1f}" if burst else "")
        row.append(f"{found['peak_bytes'] / 2**20:.0f}" if "peak_bytes" in found else "")
        row.append(f"{latency.p50 / best[1]:.2f}" if best else "")
        return [*row, self._same_choice(found)] if self.shape.trained else row

    def _same_choice(self, found: dict[str, Any]) -> str:
        """Over all cases; archroute's int8 and the peers' own quantizations each change some."""
        reference = self._found[_REFERENCE].get("cases", {})
        chosen, expected = [], []
        for name, measured in found["cases"].items():
            both = list(zip(reference.get(name, {}).get("policies", ()), measured["policies"], strict=False))
            expected += [one for one, _ in both]
            chosen += [other for _, other in both]
        share = same_choice(expected, chosen)
        return "" if share is None else f"{share:.0%}"

    def _percentiles(self, peer: Peer, cases: list[str]) -> Iterator[str]:
        for case in cases:
            measured = self._found[peer.name]["cases"].get(case)
            if measured is None:
                yield ""
                continue
            latency = Latency.of(measured["seconds"])
            yield f"{latency.p50:.0f} / {latency.p95:.0f} / {latency.p99:.0f}"

    def _left_out(self) -> Iterator[str]:
        lines = [
            f"- Skipped: {PEERS[name].title}: {found['skipped']}"
            for name, found in self._found.items()
            if "skipped" in found
        ]
        lines += [f"- Failed: {found['failed']}" for found in self._found.values() if "failed" in found]
        for peer in self.finished():
            if differing := self._differing(peer):
                lines.append(
                    f"- {peer.title} makes another number of tokens of {differing} of these prompts."
                )
        if lines:
            yield from lines
            yield ""

    def _differing(self, peer: Peer) -> int:
        """Count the prompts that a peer's tokenizer reads as another number of tokens than archroute's."""
        ours = self._found[ENGINE].get("cases", {})
        return sum(
            expected != found
            for name, measured in self._found[peer.name]["cases"].items()
            for expected, found in zip(
                ours.get(name, {}).get("prompt_tokens", ()), measured["prompt_tokens"], strict=False
            )
        )

    def _bars(self) -> Iterator[str]:
        """Write what archroute has to reach, and what it does."""
        ours, best = self.p50(ENGINE), self.best_peer()
        if ours and best:
            yield (
                f"- p50 is {ours / best[1]:.2f} x that of the best peer, {best[0].title}. "
                f"To reach: at most {_BARS[self.shape.name]}."
            )
        if ours and (fifty := self.p50(ENGINE, MAIN_CASE.replace("10", "50", 1))):
            yield f"- 50 policies cost {fifty / ours:.2f} x what 10 do, once warm. To reach: at most 1.15."
        served = self.p50(SERVER)
        if ours and served:
            yield self._grpc(served - ours)
        if found := self.results.read(roofline.NAME):
            yield _ceilings(found)
            if ours:
                yield _share(found, ours / 1000)
        if found := self.results.read(starting.NAME):
            yield _start(found) + (" To reach: 15 s and 2.2 GiB." if self.shape.name == "1.5b" else "")
        if found := self.results.read(agreeing.NAME):
            yield _agreement(found)
        yield ""

    def _grpc(self, difference: float) -> str:
        measured = self._found[SERVER]["cases"][MAIN_CASE]
        outside = [
            whole - inside for whole, inside in zip(measured["seconds"], measured["elsewhere"], strict=True)
        ]
        return (
            f"- gRPC adds {difference:.2f} ms to p50, as the difference of the medians. Of single requests, "
            f"the median that is spent outside the server is {Latency.of(outside).p50:.2f} ms. "
            "To reach: at most 1 ms."
        )


def _ceilings(found: dict[str, Any]) -> str:
    return (
        f"- Roofline: bare products of this shape at {found['new_tokens']} rows reach "
        f"{found['ceilings']['int8'] / 1e9:.0f} billion operations a second in int8, and "
        f"{found['ceilings']['fp32'] / 1e9:.0f} in fp32. A decision takes "
        f"{found['linear_operations'] / 1e9:.1f} billion in its products, and "
        f"{found['attention_operations'] / 1e9:.1f} in attention."
    )


def _share(found: dict[str, Any], seconds: float) -> str:
    """Say what share of the ceilings a decision of so many seconds reaches."""
    reached = found["linear_operations"] / seconds
    return (
        f"- A decision does {reached / 1e9:.0f} billion operations of its products a second: "
        f"{reached / found['ceilings']['int8']:.0%} of the int8 ceiling, and "
        f"{reached / found['ceilings']['fp32']:.2f} x the fp32 ceiling."
    )


def _start(found: dict[str, Any]) -> str:
    return (
        f"- `archroute serve` gave its first answer {found['first_answer_seconds']:.1f} s after its start. "
        f"It held {found['resident_bytes'] / 2**30:.2f} GiB after some decisions, and "
        f"{found['peak_bytes'] / 2**30:.2f} GiB at its peak."
    )


def _agreement(found: dict[str, Any]) -> str:
    return (
        f"- int8 decides as fp32 does in {found['agreement']:.1%} of {found['conversations']} conversations "
        f"({found['source']}), and in {found['agreement_where_sure']:.1%} of the "
        f"{found['sure_conversations']} where fp32's top probability is at least 0.6. "
        "To reach: 98 % and 99.5 %. "
        f"The top probability changes by {found['mean_change_of_top_probability']:.3f} on average."
    )
