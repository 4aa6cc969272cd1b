"""The table of figures, as the README has it."""

from __future__ import annotations

from tests.proof.figures import FIGURES


def table(results: dict) -> str:  # type: ignore[type-arg]
    """Return a run's results as Markdown: what was done how often, and what did not hold."""
    proofs = results["proofs"]
    sums = dict.fromkeys(FIGURES, 0)
    for proof in proofs.values():
        for figure, number in proof["figures"].items():
            sums[figure] += number
    rows = [(FIGURES[figure], f"{number:,}") for figure, number in sums.items() if number]
    failed = [name for name, proof in proofs.items() if not proof["held"]]
    rows.append(
        ("anomalies: lost, doubled, altered, reordered or skipped records, commits taken back", str(len(failed)))
    )
    lines = ["| what | how often |", "|---|---|", *(f"| {what} | {number} |" for what, number in rows)]
    if failed:
        lines.append(f"\nDid not hold: {', '.join(failed)}.")
    return "\n".join(lines)
