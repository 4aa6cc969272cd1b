"""The command that runs the whole proof: what it would run is there, and what it writes down is what was counted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.proof import __main__ as whole
from tests.proof import figures
from tests.proof.table import table


@pytest.mark.parametrize("proof", whole.PROOFS, ids=lambda proof: proof.name)
def test_every_proof_has_something_to_run(proof: whole.Proof) -> None:
    for words in filter(None, (proof.deep, proof.sample)):
        places = [word for word in words if word.startswith("tests/")]
        module = words[words.index("-m") + 1]
        assert places or module.startswith("tests.proof.")
        for place in places:
            assert (whole.ROOT / place).exists(), place


def test_no_test_that_counts_is_left_out_of_the_proof() -> None:
    places = {whole.ROOT / word for proof in whole.PROOFS for word in proof.deep if word.startswith("tests/")}
    left_out = [
        path.relative_to(whole.ROOT)
        for path in whole.ROOT.glob("tests/*/test_*.py")
        if "tests.proof.figures import count" in path.read_text() and not places & {path, path.parent}
    ]
    # The fuzzer itself runs what the one tries, and the other is this.
    assert {path.name for path in left_out} <= {"test_fuzz_targets.py", "test_whole_proof.py"}


def test_what_is_counted_by_several_processes_is_summed(tmp_path: Path) -> None:
    path = tmp_path / "figures"
    environment = {**os.environ, "MK_PROOF_FIGURES": str(path)}
    script = "from tests.proof.figures import count; count('kills', 3); count('faults'); count('kills', 0)"
    for _ in range(3):
        subprocess.run([sys.executable, "-c", script], cwd=whole.ROOT, env=environment, check=True)
    found = figures.totals(str(path))
    assert {name: number for name, number in found.items() if number} == {"kills": 9, "faults": 3}


def test_nothing_is_written_where_nobody_asks_for_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MK_PROOF_FIGURES", raising=False)
    figures.count("kills")
    with pytest.raises(KeyError):
        figures.count("misspelt")


def test_a_proof_that_does_not_hold_is_said_and_written_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = "from tests.proof.figures import count; count('kills', 1234); print('end')"
    missing = whole.Proof("missing", "it needs what is not here", ("-c", "raise SystemExit(69)"))
    proofs = (
        missing,
        whole.Proof("good", "it holds", ("-c", script)),
        whole.Proof("bad", "it does not", ("-c", script + "; raise SystemExit(1)")),
    )
    monkeypatch.setattr(whole, "PROOFS", proofs)
    results = tmp_path / "results" / "of-today.json"
    monkeypatch.setattr(sys, "argv", ["prove", "--results", str(results)])
    assert whole.main() == 1
    found = json.loads(results.read_text())
    assert [proof["held"] for proof in found["proofs"].values()] == [True, False]
    assert found["proofs"]["good"]["figures"] == {"kills": 1234} and found["proofs"]["good"]["ended_with"] == "end"
    assert "| 2,468 |" in table(found) and "Did not hold: bad." in table(found)
    # One proof again, and the other stays as it is.
    monkeypatch.setattr(whole, "PROOFS", (proofs[1], whole.Proof("bad", "it does now", ("-c", script))))
    monkeypatch.setattr(sys, "argv", ["prove", "--results", str(results), "--only", "bad"])
    assert whole.main() == 0
    assert all(proof["held"] for proof in json.loads(results.read_text())["proofs"].values())


@pytest.mark.parametrize("fails", [False, True])
def test_a_proof_that_is_stopped_at_its_limit_holds_as_far_as_it_came(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    test = tmp_path / "test_endless.py"
    test.write_text(
        "import time\nfrom tests.proof.figures import count\n"
        f"def test_first():\n    count('kills', 7)\n    assert not {fails}\n"
        "def test_second():\n    time.sleep(600)\n"
    )
    endless = whole.Proof("endless", "it holds", (*whole.PYTEST, f"--rootdir={tmp_path}", str(test)))
    monkeypatch.setattr(whole, "PROOFS", (endless,))
    results = tmp_path / "results.json"
    monkeypatch.setattr(sys, "argv", ["prove", "--results", str(results), "--limit", "0.2"])
    assert whole.main() == fails
    (proof,) = json.loads(results.read_text())["proofs"].values()
    assert proof["stopped"] and proof["held"] != fails and proof["figures"] == {"kills": 7}
