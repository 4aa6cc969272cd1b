"""Every parser takes any bytes without a bug, and what it accepts is what mk writes: the targets of tests/proof/fuzz, a sample.

More of it, led by what is reached: `python -m tests.proof.fuzz`.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.proof.figures import count
from tests.proof.fuzz import __main__ as command
from tests.proof.fuzz.everything import TARGETS
from tests.proof.fuzz.mutations import mutations
from tests.proof.fuzz.target import strike

if TYPE_CHECKING:
    from tests.thinning import Thoroughness


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("name", TARGETS)
def test_a_target_stands_its_seeds_and_what_is_made_of_them(name: str, thoroughness: Thoroughness) -> None:
    target = TARGETS[name]
    struck = 0
    for data in [*target.seeds(), *mutations(target, thoroughness.pick(1, 25) * target.sample)]:
        assert len(data) <= target.max_bytes
        try:
            strike(target, data)
        except Exception as error:
            raise AssertionError(f"{name} fails at {data!r}") from error
        struck += 1
    count("fuzz", struck)


@pytest.mark.slow
def test_the_command_gives_figures_of_each_target() -> None:
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris is missing: pip install -e '.[fuzz]'")
    words = [sys.executable, "-m", "tests.proof.fuzz", "clock", "names", "--runs", "300"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    *lines, total = sorted(done.stdout.splitlines(), key=lambda line: line[:1].isdigit())
    assert sorted(line.split()[0] for line in lines) == ["clock", "names"]
    assert all("executions" in line and "corpus" in line and "coverage" in line for line in lines)
    assert total == "600 executions of 2 targets, 0 failed"


def test_the_command_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert command.main(["clock"]) == 69
    assert "pip install" in capsys.readouterr().err
