"""The configurations of mk-recipes(7) for logrotate, with the real one, and the line that ships the log."""

import os
import signal
import subprocess

import pytest
from recipe_blocks import TIMEOUT, Unit, files, needs, place, recipe, stop, wait_until  # noqa: F401  a fixture

SHIP = Unit(files(("A log is shipped as it grows",))["/etc/systemd/system/mk-ship.service"])


class Host:
    """A log that a program appends to, what rotates it, and what ships it."""

    def __init__(self, place, block):  # noqa: F811
        needs("logrotate")
        self.place = place
        self.log = place.top / "var/log/app/app.log"
        self.log.parent.chmod(0o755)
        self.written = []
        self._process = None
        self._configuration = place.top / "app.conf"
        self._configuration.write_text(place.paste(block))
        self._configuration.chmod(0o644)

    def append(self, count):
        lines = [f"line {number}" for number in range(len(self.written), len(self.written) + count)]
        with self.log.open("a") as file:
            file.write("".join(f"{line}\n" for line in lines))
        self.written += lines

    def rotate(self):
        command = ["logrotate", "-f", "-s", self.place.top / "status", self._configuration]
        environment = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=TIMEOUT)
        assert done.returncode == 0 and not done.stderr, done.stderr

    def ship(self, *options):
        command = self.place.paste("\n".join(SHIP.command())).splitlines()
        self._process = self.place.start([*command, *options], env=self.place.environment())
        return self._process

    def wait(self):
        topic = self.place.mk / "topics/app/topic.json"
        wait_until(lambda: topic.exists() and len(self.place.values("app")) >= len(self.written))

    def check(self):
        assert self.place.values("app") == self.written
        assert "no damage" in self.place.shell("mk topics verify").stdout


@pytest.fixture(params=["A log that is renamed", "A log that is emptied"])
def host(request, place):  # noqa: F811
    (block,) = recipe(request.param)
    return Host(place, block)


def test_a_log_is_rotated_while_it_is_shipped_and_while_it_is_not(host):
    host.append(20)
    process = host.ship()
    host.wait()
    host.rotate()
    host.append(20)
    host.wait()
    assert stop(process, signal.SIGKILL) == 137
    host.append(20)
    host.rotate()
    host.append(20)
    process = host.ship()
    host.wait()
    host.rotate()
    host.append(5)
    host.wait()
    assert stop(process) == 143
    host.check()
    assert list(host.log.parent.glob("*.gz")), "delaycompress leaves one, and no more"


def test_what_is_compressed_before_it_was_read_is_not_left_out_in_silence(host):
    host.append(20)
    process = host.ship()
    host.wait()
    stop(process)
    host.append(20)
    for _ in range(3):
        host.rotate()
        host.append(1)
    process = host.ship()
    _, told = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 65 and host.log.name in told
    assert host.place.values("app") == host.written[:20]
    process = host.ship("--accept-gap")
    wait_until(lambda: host.place.values("app")[-1:] == host.written[-1:])
    assert stop(process) == 143
    assert host.place.values("app")[:20] == host.written[:20]
