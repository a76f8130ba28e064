"""The GPU section of RESULTS.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

HEADING = "## On a GPU"


def render(result: dict[str, Any]) -> str:
    """Markdown of a result of `benchmarks/gpu.py`."""
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    card = [result["device_name"]]
    if "cuda" in result:
        card += [f"{result['memory_gib']} GiB, CUDA {result['cuda']}, driver {result['driver']}"]
    lines = [
        HEADING,
        "",
        "Rewritten by `make gpu`. MFU: FLOPs of the matrix products, forward and backward, over the card's dense bf16 "
        "peak;",
        "the models are small (widths of 64), so it is low. `equal`: the result was checked against a plain "
        "computation in float32 or",
        "float64.",
        "",
        f"{result['date']}, {', '.join(card)}, {result['cores']} cores, Python {result['python']}, {versions}; size "
        f"{result['size']}, {result.get('seconds', 0):.0f} s in all.",
    ]
    if result["missing"]:
        lines += ["", f"Missing there: {', '.join(result['missing'])}."]
    lines += [
        "",
        "| what | size | dtype | ms | throughput | MFU | peak GiB | equal | notes |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, stage in result["stages"].items():
        if stage["status"] == "rows":
            lines += [_line(row) for row in stage["rows"]]
        else:
            lines.append(_line({"measure": name, "note": f"{stage['status']}: {stage['reason']}"}))
    return "\n".join(lines) + "\n"


def _line(row: dict[str, Any]) -> str:
    cells = [
        row["measure"],
        row.get("size", ""),
        row.get("dtype", ""),
        f"{1e3 * row['seconds']:.3g}" if "seconds" in row else "",
        f"{row['throughput']:,.0f} {row['unit']}" if "throughput" in row else "",
        f"{row['mfu']:.2%}" if "mfu" in row else "",
        f"{row['peak_memory_gib']:.2f}" if "peak_memory_gib" in row else "",
        str(row.get("equal", "")),
        row.get("note", ""),
    ]
    return "| " + " | ".join(str(cell).replace("|", "/").replace("\n", " ") for cell in cells) + " |"


def without_section(text: str) -> str:
    """RESULTS.md up to the GPU section, which is its last."""
    return text.split(f"\n{HEADING}\n")[0].rstrip("\n") + "\n"


def write_section(file: Path, result: dict[str, Any]) -> None:
    """Put the section of `result` in place of the one that `file` has, if any; the rest stays as it is."""
    text = without_section(file.read_text()) if file.is_file() else "# Benchmarks\n"
    temporary = file.with_suffix(".tmp")
    temporary.write_text(f"{text}\n{render(result)}")
    temporary.replace(file)
