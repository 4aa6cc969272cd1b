"""The table of figures, as the README has it."""

from __future__ import annotations

from typing import Any

from tests.proof.figures import FIGURES


def table(results: dict[str, Any]) -> str:
    """Return a run's results as Markdown: what was done how often, what did not hold, and where and when that was."""
    proofs = results["proofs"]
    sums = dict.fromkeys(FIGURES, 0)
    for proof in proofs.values():
        for figure, number in proof["figures"].items():
            sums[figure] += number
    failed = [name for name, proof in proofs.items() if not proof["held"]]
    rows = [(FIGURES[figure], f"{number:,}") for figure, number in sums.items() if number]
    rows.append(
        ("proofs in which anything was lost, doubled, altered, reordered, skipped or taken back", str(len(failed)))
    )
    lines = ["| what | how often |", "|---|---|", *(f"| {what} | {number} |" for what, number in rows), ""]
    if failed:
        lines.append(f"Did not hold: {', '.join(failed)}.")
    return "\n".join([*lines, *_caption(results)])


def _caption(results: dict[str, Any]) -> list[str]:
    proofs = results["proofs"].values()
    days = sorted({proof["date"] for proof in proofs})
    commits = sorted({proof["commit"] for proof in proofs})
    minutes = sum(proof["seconds"] for proof in proofs) / 60
    lines = [
        f"{' and '.join(days)}, commit {' and '.join(commits)}; {results['machine']}; {results['system']};"
        f" Python {results['python']};",
        f"{minutes:.0f} minutes in all.",
    ]
    stopped = [name for name, proof in results["proofs"].items() if proof.get("stopped")]
    if stopped:
        lines[-1] += (
            " A part of all cases, in an order made by lot, as far as the time went: " + ", ".join(stopped) + "."
        )
    return lines
