"""Who is stopped, continued or killed in the midst of a commit or of a fencing: no acknowledged commit is rolled back.

And whoever was stopped and has lost its partition hands over no more than the one batch that it held.
"""

import contextlib
import itertools
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

from group_storm import storm
from processes import TIMEOUT, create_topic, kill_all, must, start, wait_until

from tests.proof import anomalies
from tests.proof.figures import count

ACTORS = str(Path(__file__).with_name("fencing_actors.py"))

ENDS = (
    (("owner", "go"), ("fencer", "go")),
    (("fencer", "go"), ("owner", "go")),
    (("owner", "kill"), ("fencer", "go")),
    (("fencer", "kill"), ("owner", "go")),
    (("other", "kill"), ("fencer", "go"), ("owner", "go")),
)
OWNER_STEPS = range(8)
FENCER_STEPS = range(18)


def test_two_fencers_of_a_stopped_owner_who_goes_on_or_dies_at_any_step_roll_no_commit_back(tmp_path, thoroughness):
    """Each stops before any step of its work; the owner also in its first commit of all."""
    directory = tmp_path / "log"
    create_topic(directory, "t")
    every = itertools.product((None, 5), OWNER_STEPS, FENCER_STEPS, ENDS)
    cases = [
        {"group": f"g{number}", "first": first, "owner": owner, "fencer": fencer, "end": end}
        for number, (first, owner, fencer, end) in enumerate(every)
    ]
    cases = thoroughness.of(cases, 60, kind=lambda case: (case["first"], case["owner"], case["end"]))
    lines = "".join(json.dumps(case) + "\n" for case in cases)
    done = subprocess.run(
        [sys.executable, ACTORS, str(directory)], input=lines, capture_output=True, text=True, timeout=TIMEOUT * 20
    )
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(cases)
    for case, answer in zip(cases, answers):
        check_case(case, answer)
    # There are steps enough for all that a fencer and an owner do.
    assert any("fencer" not in answer["stopped"] for answer in answers) or not thoroughness.is_full
    assert any("owner" not in answer["stopped"] for answer in answers) or not thoroughness.is_full


def check_case(case, answer):
    """By generation, as whoever takes it after that has to see it: within one, each noted in order."""
    history = anomalies.History()
    notes = sorted(answer["notes"], key=lambda note: note[2])
    for what, _, _, offset in notes:
        if what == "took":
            history.resumed("g", 0, offset)
        else:
            history.committed("g", 0, offset)
    try:
        history.check()
    except AssertionError as error:
        raise AssertionError(f"{error}\n{case}\n{answer}") from None
    assert notes[-1][1] == "last"
    owners = [{note[1] for note in notes if note[2] == generation} for generation in {note[2] for note in notes}]
    assert all(len(names - {"last"}) <= 1 for names in owners), f"two had one generation: {case}\n{answer}"
    count("stops", len(answer["stopped"]))
    count("kills", sum(name in answer["stopped"] for name, what in case["end"] if what == "kill"))
    count("commits", sum(what == "acked" for what, *_ in notes))


def test_members_with_a_very_short_session_time_out_fence_each_other_all_the_time_and_skip_nothing(
    tmp_path, thoroughness
):
    happening = storm(
        tmp_path,
        thoroughness.pick(6, 90),
        partitions=3,
        members=4,
        seed=11,
        ways=("SIGSTOP", "SIGSTOP", "SIGSTOP", "SIGKILL"),
        session_timeout="100ms",
        pauses=(0.02, 0.12, 0.3),
    )
    fenced = sum("has taken partition" in member.errors.read_text() for member in happening.ended)
    print(f"{fenced} members were told that they had been fenced")
    assert fenced


LARGE = 70_000
"""Bytes of a record that is a batch of its own, and more than one read brings."""


def test_a_member_that_was_stopped_and_fenced_hands_over_no_more_than_the_one_batch_it_held(tmp_path, thoroughness):
    chance = random.Random(3)
    for number in range(thoroughness.pick(3, 60)):
        directory = tmp_path / f"log{number}"
        create_topic(directory, "t")
        for value in range(12):
            must(directory, "produce", "t", f"{value} {'x' * LARGE}")
        strike(directory, chance, tmp_path)


def strike(directory, chance, tmp_path):
    """Stop a member at a random moment of its reading, have another take over and read all, then let the first go on."""
    words = ("consume", "t", "-g", "g", "-F", "-f", "%o %v\\n", "--session-timeout", "200ms")
    output, errors = tmp_path / "output", tmp_path / "errors"
    with output.open("wb") as stdout, errors.open("wb") as stderr:
        first = start(directory, *words, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr)
    second = None
    try:
        wanted = chance.randint(0, 8)
        wait_until(lambda: len(offsets_of(output)) >= wanted)
        with contextlib.suppress(subprocess.TimeoutExpired):
            first.wait(chance.uniform(0, 0.004))
        first.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, first.pid, os.WSTOPPED | os.WNOWAIT)
        had = len(offsets_of(output))
        takes_over = tmp_path / "takes-over"
        with takes_over.open("wb") as stdout:
            second = start(directory, *words, stdin=subprocess.DEVNULL, stdout=stdout)
        wait_until(lambda: 11 in offsets_of(takes_over))
        must(directory, "produce", "t", "12")
        wait_until(lambda: 12 in offsets_of(takes_over))
        first.send_signal(signal.SIGCONT)
        must(directory, "produce", "t", "13")
        wait_until(lambda: 13 in offsets_of(takes_over) or 13 in offsets_of(output))
        for process in (first, second):
            process.send_signal(signal.SIGTERM)
            assert process.wait(TIMEOUT) == -signal.SIGTERM
    finally:
        kill_all([process for process in (first, second) if process is not None])
    zombie, owner = offsets_of(output), offsets_of(takes_over)
    assert zombie[:had] == list(range(had))
    # It may be a member again by then, and be given what is new; what it was not given before it was stopped, and the other
    # one was, is the one batch.
    late = [offset for offset in zombie[had:] if offset <= 12]
    assert len(late) <= 1, f"it handed over {late} after {had} records, when it was no owner any more"
    assert owner == list(range(owner[0], owner[0] + len(owner))) and owner[0] <= had
    assert {13} <= {*owner, *zombie} and sorted({*owner, *zombie}) == list(range(14))
    count("stops")


def offsets_of(path):
    """Return the offsets of the whole lines that a member has printed."""
    return [int(line.split(b" ")[0]) for line in path.read_bytes().split(b"\n")[:-1]]
