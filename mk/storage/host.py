"""What the kernel says of this host: its boot, and the file system under a directory."""

from __future__ import annotations

import os
import sys

from mk.errors import ConfigurationError

# Locks there are local to each host, or end when a lease does, or need a daemon that may not run.
_NETWORK_FILE_SYSTEMS = frozenset(
    (
        "nfs",
        "nfs4",
        "cifs",
        "smb3",
        "smbfs",
        "9p",
        "virtiofs",
        "afs",
        "ceph",
        "lustre",
        "gfs2",
        "ocfs2",
        "beegfs",
        "gpfs",
    )
)
_LOCAL_FUSE = frozenset(("fuse.fuse-overlayfs", "fuse.ntfs-3g", "fuse.lazyfs"))

_SPARE_FILES = 64
"""Room for what a process has open besides partitions."""

_BOOT_ID = "/proc/sys/kernel/random/boot_id"
_boot_id = ""


def boot_id() -> str:
    """Return the identity of the running kernel's boot: what was in the page cache under another one is gone.

    Raises ConfigurationError where /proc is hidden.
    """
    global _boot_id
    if not _boot_id:
        if sys.platform == "darwin":
            import subprocess

            _boot_id = subprocess.run(
                ["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"], capture_output=True, text=True, check=True
            ).stdout.strip()
        else:
            try:
                fd = os.open(_BOOT_ID, os.O_RDONLY | os.O_CLOEXEC)
            except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
                # A chroot without /proc, or ProcSubset=pid. Nothing can stand in for it: taken for another boot, records that
                # are in the page cache alone would be cut off; taken for this one, what a power cut tore would be read.
                raise ConfigurationError(
                    "the kernel's boot id cannot be read",
                    why=f"{_BOOT_ID}: {error.strerror}",
                    fix="mount /proc here, or leave out what hides it, such as ProcSubset=pid of systemd; no record was written",
                ) from error
            _boot_id = os.read(fd, 64).decode().strip()
            os.close(fd)
    return _boot_id


def file_system_of(fd: int) -> str:
    """Return the type of the file system that an open file is on, as in mountinfo; "" where that cannot be told."""
    device = os.fstat(fd).st_dev
    wanted = b" %d:%d " % (os.major(device), os.minor(device))
    try:
        mounts = os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        data = b""
        while piece := os.read(mounts, 1 << 16):
            data += piece
    finally:
        os.close(mounts)
    at = data.find(wanted)
    if at < 0:
        return ""
    line = data[at : data.find(b"\n", at)]
    return line.partition(b" - ")[2].split(b" ")[0].decode(errors="replace")


def is_network_file_system(name: str) -> bool:
    """Tell whether locks on this type of file system are not proven to reach every writer."""
    return name in _NETWORK_FILE_SYSTEMS or (name.startswith("fuse.") and name not in _LOCAL_FUSE)


def allow_open_files(count: int) -> None:
    """Raise this process's limit on open files to `count` more, as far as its hard limit goes."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + _SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))


def command_line() -> str:
    """Return what people know this process by: its command line, without the place where mk is installed."""
    program = os.path.basename(sys.argv[0]) if getattr(sys, "argv", None) else ""
    return " ".join(["mk" if program in ("mk", "__main__.py") else program or "python", *sys.argv[1:]])
