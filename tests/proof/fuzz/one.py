"""One target under atheris, in a process of its own, which libFuzzer ends: `python -m tests.proof.fuzz.one TARGET ...`."""

from __future__ import annotations

import sys

import atheris


def main() -> None:
    """Fuzz the target named first; the other words are libFuzzer's options, and the directory with the seeds."""
    _, name, *options = sys.argv
    # Before anything of mk is imported: what a module is made of is counted as it is loaded.
    with atheris.instrument_imports(include=["mk"], enable_loader_override=False):
        from tests.proof.fuzz.everything import TARGETS

        target = TARGETS[name]
        seeds = target.seeds()
        for seed in seeds:
            target.fuzz(seed)  # So that what is imported late is counted as well.
    from tests.proof.fuzz.target import strike

    def change(data: bytes, max_size: int, seed: int) -> bytes:
        changed = atheris.Mutate(data, max_size)
        if target.mend is not None and seed % 8:
            changed = target.mend(bytes(changed))[:max_size]
        return changed

    atheris.Setup(
        [sys.argv[0], *options],
        lambda data: strike(target, bytes(data)),
        **({} if target.mend is None else {"custom_mutator": change}),
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
