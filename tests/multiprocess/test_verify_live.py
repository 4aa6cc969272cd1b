"""`mk topics verify` beside producers that are killed at any moment, on segments that roll all the time: no false alarm."""

import json
import threading

import pytest
from history import Anomaly, verify
from processes import create_topic, run
from test_storm import Storm, check


class Watch:
    """Verifies a topic over and over in a thread, until it is stopped. anomalies: what it found, and should not have."""

    def __init__(self, look):
        self.passes = 0
        self.anomalies = []
        self._look = look
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exc):
        self._stop.set()
        self._thread.join()

    def _run(self):
        while not self._stop.is_set() and not self.anomalies:
            try:
                self._look()
            except Exception as error:  # noqa: BLE001  whatever it is, the test shows it
                self.anomalies.append(error)
            self.passes += 1


def storm_under_watch(tmp_path, seconds, **keywords):
    """Storm with several verifications a second, in this process and by the command; and one after each kill."""
    directory = tmp_path / "log"
    partitions = keywords.get("partitions", 1)
    create_topic(directory, "storm", partitions, segment_bytes=4096)

    def look_by_command():
        done = run(directory, "topics", "verify", "storm", "--json")
        if done.status != 0 or json.loads(done.stdout)["damage"]:
            raise Anomaly(str(done))

    happening = Storm(directory, tmp_path, **keywords)
    kill = happening._kill

    def kill_and_look(name):
        kill(name)
        verify(directory, "storm")

    happening._kill = kill_and_look
    with Watch(lambda: verify(directory, "storm")) as inside, Watch(look_by_command) as outside:
        happening.run(seconds)
    assert inside.anomalies == outside.anomalies == []
    assert inside.passes > 5 and outside.passes > 2, "too little was looked at to prove anything"
    check(happening, directory, partitions)


def test_verify_finds_no_damage_while_producers_are_killed_and_segments_roll(tmp_path):
    storm_under_watch(tmp_path, 8, partitions=2, keyed=True, seed=21)


def test_nor_where_some_producers_do_not_wait_for_the_disk(tmp_path):
    storm_under_watch(tmp_path, 6, acks=("0", "1"), seed=22)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_a_minute_of_it(tmp_path, seed):
    storm_under_watch(tmp_path, 60, partitions=1 + seed, acks=("0", "1"), keyed=bool(seed % 2), seed=30 + seed)
