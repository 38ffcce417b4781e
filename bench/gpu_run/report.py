"""GPU_RESULTS.md, and the tables that are printed."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gpu_run import phases
from gpu_run.found import Found, Measured
from gpu_run.plan import DRY_RUN, Plan
from peers.tables import markdown_table

REPORT = "GPU_RESULTS.md"
PLOT = "gpu-results.png"

# For one decision of the main case, and packed.
_AIM_MILLISECONDS = 5.0
_AIM_PER_SECOND = 500.0


def write_report(plan: Plan, whole: Mapping[str, Any], path: Path) -> None:
    """Write all that was found; what was not measured is named with the reason."""
    found = Found(plan, whole)
    lines = [
        "# Results on a GPU",
        "",
        "Written by `python bench/gpu.py`; [README](README.md) says what is measured and how.",
        "",
    ]
    if plan is DRY_RUN:
        lines += ["**A dry run: a tiny model on a CPU. These figures say nothing about a GPU.**", ""]
    lines += [f"- {key[0].upper()}{key[1:]}: {value}" for key, value in found.device.items()]
    lines += [f"- Model: {plan.shape.title}", "", *tables(plan, whole)]
    if found.measured():
        lines += ["", f"![Latency and decisions per second]({PLOT})"]
    path.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


def tables(plan: Plan, whole: Mapping[str, Any]) -> Iterator[str]:
    """Write every table of what there is."""
    found = Found(plan, whole)
    for section in (
        _aims,
        _latencies,
        _throughput,
        _parity,
        _ceilings,
        _shares,
        _time,
        _kernels,
        _attention,
        _not_measured,
    ):
        lines = list(section(found))
        if lines:
            yield from lines
            yield ""


def _aims(found: Found) -> Iterator[str]:
    case, most = found.plan.main_case(), str(max(found.plan.callers))
    engines = [each for each in found.engines() if each.figures(case, 1)]
    if not engines:
        return
    yield f"## The aims, at {case.name}"
    yield ""
    best = min(engines, key=lambda each: each.cases[case.name]["1"]["p50"])
    p50 = best.cases[case.name]["1"]["p50"]
    yield f"- One decision: p50 {p50:.2f} ms ({best.title}). Aim: at most {_AIM_MILLISECONDS:g} ms."
    packed = [each for each in engines if most in each.cases[case.name]]
    if packed:
        fastest = max(packed, key=lambda each: each.cases[case.name][most]["per_second"])
        rate = fastest.cases[case.name][most]["per_second"]
        yield (
            f"- {most} callers: {rate:.0f} decisions a second ({fastest.title}). "
            f"Aim: at least {_AIM_PER_SECOND:g}."
        )
    if (floor := found.floor(case.new_tokens)) is not None:
        yield (
            f"- The bare float16 products of {case.new_tokens} rows take {floor:.2f} ms on this device: "
            f"one decision reaches {floor / p50:.0%} of that ceiling."
        )


def _latencies(found: Found) -> Iterator[str]:
    yield from _matrix(
        found,
        "Latency, p50 / p95 / p99 in milliseconds",
        lambda figures: f"{figures['p50']:.2f} / {figures['p95']:.2f} / {figures['p99']:.2f}",
        found.measured(),
    )


def _throughput(found: Found) -> Iterator[str]:
    yield from _matrix(
        found,
        "Decisions per second, and requests in a forward pass",
        lambda figures: f"{figures['per_second']:.0f} ({figures['requests_in_a_pass']:.1f})",
        list(found.engines()),
    )


def _matrix(found: Found, title: str, cell: Any, columns: list[Measured]) -> Iterator[str]:
    """Write a row for each case and number of callers."""
    if not columns:
        return
    yield f"## {title}"
    yield ""
    rows = []
    for case in found.plan.cases():
        for callers in found.plan.callers:
            figures = [each.figures(case, callers) for each in columns]
            if any(figures):
                cells = [cell(each) if each else "" for each in figures]
                rows.append([f"{case.name}, {callers} caller{'s' * (callers > 1)}", *cells])
    yield from markdown_table(["", *(each.title for each in columns)], rows)


def _parity(found: Found) -> Iterator[str]:
    rows = []
    for each in found.engines():
        parity, self_test = each.whole.get("parity", {}), each.whole["self_test"]
        rows.append(
            [
                each.title,
                parity.get("skipped") or f"{parity['same_decision']} of {parity['prompts']}"
                if parity
                else "",
                f"{parity['largest_difference_of_a_log_probability']:.2g}" if "prompts" in parity else "",
                _self_test(self_test),
                f"{each.whole['load_seconds']:.0f}",
            ]
        )
    if rows:
        yield "## Parity with torch in float32"
        yield ""
        header = ["", "same decision", "largest difference of a log probability"]
        yield from markdown_table([*header, "self-test, of what it allows", "seconds to load"], rows)


def _self_test(found: Mapping[str, Any]) -> str:
    return found.get("failed") or f"{found['difference']:.2g} of {found['bound']:.2g}"


def _shares(found: Found) -> Iterator[str]:
    """Say what part of the time of a decision the bare products of its new tokens would take."""
    ceilings = found.phase(phases.CEILINGS)
    products = ceilings.get("products", {}).get("float16", {})
    engines = list(found.engines())
    if not products or not engines:
        return
    most = max(found.plan.callers)
    best = max(product["operations_a_second"] for size, product in products.items() if size != "square")
    rows = []
    for case in found.plan.cases():
        floor = found.floor(case.new_tokens)
        cells = []
        for each in engines:
            single, together = each.figures(case, 1), each.figures(case, most)
            one = f"{floor / single['p50']:.0%}" if single and floor else ""
            operations = ceilings["operations_a_row"] * case.new_tokens
            cells.append(f"{one} / {together['per_second'] * operations / best:.0%}" if together else one)
        rows.append([case.name, *cells])
    yield "## Share of the ceiling of the products that is reached"
    yield ""
    yield (
        f"One caller: the time of the bare products of its new tokens over p50. {most} callers: operations "
        "a second over the best rate of the products. Attention and all else count as nothing."
    )
    yield ""
    yield from markdown_table(["", *(each.title for each in engines)], rows)


def _ceilings(found: Found) -> Iterator[str]:
    measured = found.phase(phases.CEILINGS)
    if not measured.get("products"):
        return
    yield "## Ceilings"
    yield ""
    rows = []
    for name, products in measured["products"].items():
        for size, product in products.items():
            work = (
                f"{found.plan.square} x {found.plan.square}"
                if size == "square"
                else f"all products, {size} rows"
            )
            rate = product["operations_a_second"] / 1e12
            rows.append([f"{name}, {work}", f"{product['milliseconds']:.3f}", f"{rate:.2f}"])
    yield from markdown_table(["", "milliseconds", "TFLOP/s"], rows)
    if "copied_bytes_a_second" in measured:
        rate = measured["copied_bytes_a_second"]
        yield ""
        yield (
            f"A copy within the device's memory moves {rate / 1e9:.0f} GB/s, read and written. "
            "Reading the weights of all layers once takes "
            f"{1000 * measured['weight_bytes'] / (rate / 2):.3f} ms at half of that, which is what is read."
        )


def _time(found: Found) -> Iterator[str]:
    """Say where the time of one decision goes, as far as it was seen."""
    rows = []
    for each in found.engines():
        for name, work in each.whole.get("device_work", {}).items():
            figures = each.cases.get(name, {}).get("1")
            if figures is None:
                continue
            stages = figures["stages"]
            row = [
                f"{each.title}, {name}",
                *(f"{stages[stage]:.2f}" for stage in ("tokenize", "queue", "inference")),
            ]
            if "skipped" in work:
                row += [work["skipped"], "", "", "", ""]
            else:
                row += [f"{work.get(kind, 0):.2f}" for kind in ("kernels", "copies", "launches", "waits")]
                row.append(f"{work['numbers']['kernels']:.0f}")
            rows.append(row)
    if rows:
        yield "## Where the time of one decision goes, in milliseconds"
        yield ""
        stages = ["tokenizing", "in the queue", "inference"]
        header = ["", *stages, "kernels", "copies", "launches (host)", "waits (host)", "number of kernels"]
        yield from markdown_table(header, rows)


def _kernels(found: Found) -> Iterator[str]:
    name = found.plan.main_case().name
    rows = [
        [f"{each.title}: {kernel}", f"{milliseconds:.3f}"]
        for each in found.engines()
        for kernel, milliseconds in each.whole.get("device_work", {})
        .get(name, {})
        .get("longest_kernels", {})
        .items()
    ]
    if rows:
        yield f"## The kernels that take longest, at {name}"
        yield ""
        yield from markdown_table(["", "milliseconds a decision"], rows)


def _attention(found: Found) -> Iterator[str]:
    measured = found.phase(phases.ATTENTION)
    if not measured.get("operators"):
        return
    yield "## Attention alone"
    yield ""
    yield (
        f"Milliseconds for {measured['layers']} layers on {measured['cached_tokens']} cached tokens: "
        "launched node by node / captured and replayed."
    )
    yield ""
    sizes = [str(tokens) for tokens in found.plan.new_tokens]
    rows = []
    reasons = []
    for operator, by_size in measured["operators"].items():
        cells = []
        for size in sizes:
            each = by_size.get(size, {})
            captured = each.get("captured_milliseconds")
            plain = each.get("milliseconds")
            cells.append("" if plain is None else f"{plain:.3f}" + (f" / {captured:.3f}" if captured else ""))
            reasons += [
                f"- {operator}, {size} new tokens, {key.replace('_', ' ')}: {each[key]}"
                for key in ("failed", "not_captured")
                if key in each
            ]
        rows.append([operator, *cells])
    yield from markdown_table(["", *(f"{size} new tokens" for size in sizes)], rows)
    if reasons:
        yield ""
        yield from reasons


def _not_measured(found: Found) -> Iterator[str]:
    lines = [
        f"- {name}: {outcome['ended']}: {outcome['reason']}"
        for name, outcome in found.outcomes.items()
        if outcome["ended"] != "finished"
    ]
    lines += [
        f"- {each.title} warned: {' '.join(warning.split())}"
        for each in found.engines()
        for warning in each.whole.get("warnings", ())
    ]
    if lines:
        yield "## Not measured, not to the end, or with a warning"
        yield ""
        yield from lines
