"""A network between two hosts that loses its link, delays and drops: noticed, said with status 69, and made good by the next run."""

import os
import shutil
import subprocess

import pytest
from processes import ENVIRONMENT, MK, TIMEOUT, LineSource, create_topic, kill_all, must, run, wait_until

from tests.proof.anomalies import History
from tests.proof.figures import count
from tests.sshd import Sshd, sshd_program

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make network namespaces"),
    pytest.mark.skipif(shutil.which("ip") is None, reason="needs ip"),
]
LINE = b"%06d " + b"x" * 992 + b"\n"


def ip(*words, check=True):
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode and check:
        pytest.skip(f"ip {' '.join(words)}: {done.stderr.strip()}")
    return done


class Network:
    """Two network namespaces with a wire between: `near`, where mk runs, and `far`, where an sshd does.

    Both see the same files, so a test looks at the far directory as it is.
    """

    def __init__(self, top, number):
        self.near, self.far = (f"mk-{os.getpid()}-{side}" for side in ("near", "far"))
        self.wires = (f"mkn{os.getpid() % 100_000}", f"mkf{os.getpid() % 100_000}")
        self.address = f"10.213.{number}.2"
        self.sshd = None
        try:
            for name in (self.near, self.far):
                ip("netns", "add", name)
            ip("link", "add", self.wires[0], "type", "veth", "peer", "name", self.wires[1])
            for space, wire, last in ((self.near, self.wires[0], 1), (self.far, self.wires[1], 2)):
                ip("link", "set", wire, "netns", space)
                ip("-n", space, "address", "add", f"10.213.{number}.{last}/24", "dev", wire)
                ip("-n", space, "link", "set", wire, "up")
                ip("-n", space, "link", "set", "lo", "up")
            self.sshd = Sshd(top, sshd_program(), host=self.address, prefix=("ip", "netns", "exec", self.far))
            probe = self.mk("topics", "-d", f"{self.address}:{top}/nothing")
            if b"lets nobody in" in probe.stderr or b"Permission denied" in probe.stderr:
                pytest.skip(f"sshd lets nobody in: {probe.stderr!r}")
        except BaseException:
            self.close()
            raise

    def start(self, *words, **keywords):
        # Noticed within 3 s instead of 20.
        rsh = f"{self.sshd.rsh} -o ConnectTimeout=3 -o ServerAliveInterval=1 -o ServerAliveCountMax=3"
        return subprocess.Popen(
            ["ip", "netns", "exec", self.near, MK, *map(str, words)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**ENVIRONMENT, **self.sshd.environment, "MK_RSH": rsh},
            bufsize=0,
            **keywords,
        )

    def mk(self, *words, stdin=b""):
        process = self.start(*words)
        stdout, stderr = process.communicate(stdin, timeout=2 * TIMEOUT)
        process.stdout, process.stderr = stdout, stderr
        return process

    def link(self, state):
        ip("-n", self.near, "link", "set", self.wires[0], state)

    def shape(self, *words):
        """Delay or drop what is sent here, by tc's netem."""
        tc = shutil.which("tc")
        if tc is None:
            pytest.skip("needs tc")
        command = [tc, "-n", self.near, "qdisc", "replace", "dev", self.wires[0], "root", "netem", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no netem here: {done.stderr.strip()}")

    def close(self):
        if self.sshd is not None:
            self.sshd.stop()
        for name in (self.near, self.far):
            for pid in ip("netns", "pids", name, check=False).stdout.split():
                subprocess.run(["kill", "-9", pid], capture_output=True, check=False)
            ip("netns", "delete", name, check=False)
        ip("link", "delete", self.wires[0], check=False)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    made = Network(tmp_path_factory.mktemp("network"), 7)
    yield made
    made.close()


@pytest.fixture
def wire(network):
    """The network, with its link up before and after."""
    network.link("up")
    yield network
    network.link("up")
    if shutil.which("tc"):
        command = ["tc", "-n", network.near, "qdisc", "delete", "dev", network.wires[0], "root"]
        subprocess.run(command, capture_output=True, check=False)


@pytest.fixture
def running():
    processes = []
    yield processes
    kill_all(processes)


def values(directory):
    return [int(line[:6]) for line in must(directory, "consume", "t").stdout.splitlines()]


def test_a_link_that_goes_down_under_a_follower(wire, tmp_path, running):
    source, target = tmp_path / "source", tmp_path / "target"
    create_topic(source, "t", segment_bytes=65536)
    must(source, "produce", "t", stdin=b"".join(LINE % number for number in range(100)))
    follower = wire.start("replicate", "-F", "-q", source, f"{wire.address}:{target}")
    running.append(follower)
    wait_until(lambda: (target / "mk.json").exists() and run(target, "consume", "t").stdout.count("\n") == 100)
    wire.link("down")
    must(source, "produce", "t", stdin=b"".join(LINE % number for number in range(100, 300)))
    stderr = follower.communicate(timeout=2 * TIMEOUT)[1]
    assert follower.returncode == 69, stderr
    assert b"mk itself failed" not in stderr
    assert wire.mk("replicate", source, f"{wire.address}:{target}").returncode == 69
    count("faults", 2)
    found = values(target)
    assert found == list(range(len(found)))
    wire.link("up")

    def is_replicated():
        again = wire.mk("replicate", source, f"{wire.address}:{target}")
        assert again.returncode == 0, again.stderr
        return b"another run copies" not in again.stderr

    # The far side of the first run has not heard yet that there was no link: to it, that run goes on.
    wait_until(is_replicated)
    assert values(target) == list(range(300))
    must(target, "topics", "verify")
    count("acknowledged", 300)


@pytest.mark.parametrize("with_id", [True, False], ids=["with an id", "without"])
@pytest.mark.every_case
def test_a_link_that_goes_down_under_a_producer(wire, tmp_path, running, with_id):
    far = tmp_path / "far"
    create_topic(far, "t", segment_bytes=65536, flush_ms=1)
    options = ["--producer-id", "p"] if with_id else []
    producer = wire.start("produce", "t", "-d", f"{wire.address}:{far}", *options)
    running.append(producer)
    sent = 0
    while sent < 60:
        for _ in range(20):
            producer.stdin.write(LINE % sent)
            sent += 1
        wait_until(lambda sent=sent: run(far, "consume", "t").stdout.count("\n") == sent)
    wire.link("down")
    for _ in range(40):
        producer.stdin.write(LINE % sent)
        sent += 1
    stderr = producer.communicate(timeout=2 * TIMEOUT)[1]
    assert producer.returncode == 69, stderr
    count("faults")
    wire.link("up")
    history = History()
    for number in range(sent):
        history.sent("producer", 0, number)
    for number in range(60):
        history.acknowledged(0, number, number)
    if with_id:
        lines = b"".join(LINE % number for number in range(sent))
        again = wire.mk("produce", "t", "-d", f"{wire.address}:{far}", *options, stdin=lines)
        assert again.returncode == 0, again.stderr
    else:
        # What the far side still holds is let go of when its connection is found dead, or when it is asked again.
        assert wire.mk("produce", "t", "-d", f"{wire.address}:{far}", "999999").returncode in (0, 75)
        history.sent("other", 0, 999999)
    found = values(far)
    history.polled("reader", 0, list(enumerate(found)))
    history.check()
    assert found[: sent if with_id else 60] == list(range(sent if with_id else 60))
    count("acknowledged", len(found))
    must(far, "topics", "verify")


def test_a_link_that_goes_down_under_a_consumer(wire, tmp_path, running):
    far, cursor = tmp_path / "far", tmp_path / "cursor"
    must(far, "produce", "t", stdin=b"".join(LINE % number for number in range(50)))
    consumer = wire.start("consume", "t", "-F", "-d", f"{wire.address}:{far}", "--cursor-file", cursor)
    running.append(consumer)
    source = LineSource(consumer.stdout)
    assert [int(source.next()[:6]) for _ in range(50)] == list(range(50))
    wire.link("down")
    must(far, "produce", "t", stdin=b"".join(LINE % number for number in range(50, 80)))
    stderr = consumer.communicate(timeout=2 * TIMEOUT)[1]
    assert consumer.returncode == 69, stderr
    count("faults")
    wire.link("up")
    again = wire.mk("consume", "t", "-d", f"{wire.address}:{far}", "--cursor-file", cursor)
    assert again.returncode == 0, again.stderr
    assert [int(line[:6]) for line in again.stdout.splitlines()] == list(range(50, 80))


@pytest.mark.parametrize(
    "how",
    [("delay", "100ms", "50ms"), ("loss", "10%"), ("delay", "20ms", "reorder", "50%", "duplicate", "10%")],
    ids=lambda how: how[0] + how[-1],
)
def test_a_network_that_delays_drops_and_doubles_is_only_slow(wire, tmp_path, how):
    source, target = tmp_path / "source", tmp_path / "target"
    create_topic(source, "t", segment_bytes=65536)
    must(source, "produce", "t", stdin=b"".join(LINE % number for number in range(300)))
    wire.shape(*how)
    rows = wire.mk("replicate", "-q", source, f"{wire.address}:{target}")
    if rows.returncode == 69 and how[0] == "loss":
        rows = wire.mk(
            "replicate", "-q", source, f"{wire.address}:{target}"
        )  # A connection may not come about at once.
    assert rows.returncode == 0, rows.stderr
    assert values(target) == list(range(300))
    must(target, "topics", "verify")
    count("faults")
