"""File systems of a test's own, small ones, which are gone behind it; skipped with the reason where the machine lets nobody mount."""

import errno
import fcntl
import os
import shutil
import struct
import subprocess

import pytest

from tests.proof.figures import count

MKFS = {
    "ext4": ["mkfs.ext4", "-q", "-F", "-m", "0"],
    "xfs": ["mkfs.xfs", "-q", "-f"],
    "btrfs": ["mkfs.btrfs", "-q", "-f", "--mixed"],
}
SIZES = {"ext4": "24M", "xfs": "300M", "btrfs": "120M"}
"""About the smallest that each of them takes."""

_SHUTDOWN = 0x8004587D
_WITHOUT_LOG = struct.pack("I", 2)


class Mounts:
    """What is mounted for one test. Each function returns a mount point, which `close` takes away."""

    def __init__(self, top):
        self._top = top
        self._points = []

    def tmpfs(self, size="16m"):
        return self._mount("-t", "tmpfs", "-o", f"size={size}", "none")

    def disk(self, kind, size=None):
        """Make a file system in a file, and mount it."""
        image = self._top / f"image-{len(self._points)}"
        program, *options = MKFS[kind]
        if shutil.which(program) is None:
            pytest.skip(f"there is no {program}")
        subprocess.run(["truncate", "-s", size or SIZES[kind], image], check=True)
        made = subprocess.run([program, *options, image], capture_output=True, text=True, check=False)
        if made.returncode:
            pytest.skip(f"{program}: {made.stderr.strip()}")
        point = self._mount("-o", "loop", str(image))
        point.image = image
        return point

    def overlay(self, lower):
        """A writable layer over a directory, as containers have it."""
        layers = self._top / f"layers-{len(self._points)}"
        for name in ("upper", "work"):
            (layers / name).mkdir(parents=True)
        options = f"lowerdir={lower},upperdir={layers}/upper,workdir={layers}/work"
        return self._mount("-t", "overlay", "-o", options, "overlay")

    def read_only(self, directory):
        """The same directory again, with nothing to be written in it."""
        point = self._mount("--bind", str(directory))
        done = subprocess.run(
            ["mount", "-o", "remount,bind,ro", point.path], capture_output=True, text=True, check=False
        )
        if done.returncode:
            pytest.skip(f"a bind mount cannot be made read-only here: {done.stderr.strip()}")
        return point

    def _mount(self, *words):
        point = Point(self._top / f"mount-{len(self._points)}")
        point.path.mkdir()
        point.words = words
        point.mount()
        self._points.append(point)
        return point

    def close(self):
        for point in reversed(self._points):
            subprocess.run(["umount", "-l", point.path], capture_output=True, check=False)


class Point:
    """Where something is mounted. path: the directory. image: the file that is the disk."""

    def __init__(self, path):
        self.path = path
        self.words = ()
        self.image = None

    def mount(self):
        done = subprocess.run(["mount", *self.words, self.path], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"mount is refused here: {done.stderr.strip()}")

    def unmount(self, *options):
        subprocess.run(["umount", *options, self.path], check=True)

    def shut_down(self):
        """Have the file system stop as when its device is pulled out: nothing more is written, not even its own log."""
        fd = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, _SHUTDOWN, _WITHOUT_LOG)
        except OSError as error:
            if error.errno in (errno.ENOTTY, errno.EOPNOTSUPP, errno.EPERM):
                pytest.skip("this file system cannot be shut down")
            raise
        finally:
            os.close(fd)

    def fill(self, name="filler"):
        """Leave no byte free; another file for what was freed meanwhile."""
        with (self.path / name).open("ab", buffering=0) as file:
            size = 1 << 20
            while size:
                try:
                    file.write(b"x" * size)
                except OSError as error:
                    assert error.errno == errno.ENOSPC
                    count("faults")
                    size //= 2


@pytest.fixture
def mounts(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount")
    made = Mounts(tmp_path)
    yield made
    made.close()
