"""Fuzzing of every parser of mk: targets, each with its seeds, and what counts as a failure.

    python -m tests.proof.fuzz [TARGET ...] [--seconds N | --runs N]

A target is a function of some bytes, which fails by raising. With atheris (`pip install -e '.[fuzz]'`) the bytes are
found by what they reach in mk; without it the tests change the seeds at random.
"""
