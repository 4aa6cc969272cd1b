"""What kind of file system a directory is on, and which kinds are refused."""

import os

import pytest

import mk
from mk.errors import NetworkFileSystemError
from mk.storage import host

MOUNTINFO = """\
21 1 {device} / / rw,relatime shared:1 - {kind} {source} rw
22 21 0:999 / /proc rw,nosuid - proc proc rw
"""


@pytest.fixture
def on(tmp_path, monkeypatch):
    """Make everything seem to be on a file system of some type."""

    def pretend(kind):
        status = os.stat(tmp_path)
        device = f"{os.major(status.st_dev)}:{os.minor(status.st_dev)}"
        text = MOUNTINFO.format(device=device, kind=kind, source="server:/export").encode()
        real_open = os.open
        pretended = tmp_path / "mountinfo"
        pretended.write_bytes(text)

        def fake_open(path, *rest, **keywords):
            return real_open(pretended if path == "/proc/self/mountinfo" else path, *rest, **keywords)

        monkeypatch.setattr(host.os, "open", fake_open)

    return pretend


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "tmpfs", "overlay", "zfs", "nfs4", "fuse.sshfs"])
def test_the_file_system_is_read_from_mountinfo(on, tmp_path, kind):
    on(kind)
    descriptor = os.open(tmp_path, os.O_RDONLY)
    assert host.file_system_of(descriptor) == kind
    os.close(descriptor)


def test_a_device_that_mountinfo_does_not_know(monkeypatch, tmp_path):
    monkeypatch.setattr(host.os, "read", lambda *_: b"")
    with open(tmp_path / "file", "wb") as file:
        assert host.file_system_of(file.fileno()) == ""


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "9p", "virtiofs", "ceph", "fuse.sshfs", "fuse.s3fs"])
def test_a_writer_refuses_a_file_system_whose_locks_are_not_proven(on, tmp_path, kind):
    path = str(tmp_path / "log")
    with mk.connect(path, create=True) as cluster:
        cluster.create_topic("t")
        with cluster.producer("t") as producer:
            producer.send(b"before")
    on(kind)
    with mk.connect(path) as cluster:
        for write in (
            lambda: cluster.create_topic("u"),
            lambda: cluster.delete_topic("t"),
            lambda: send(cluster, b"refused"),
        ):
            with pytest.raises(NetworkFileSystemError) as refused:
                write()
            assert refused.value.exit_status == 78
            assert refused.value.facts == {"path": path, "file_system": kind}
            assert "--allow-network-fs" in refused.value.fix
        assert [record.value for record in cluster.consumer(["t"])] == [b"before"], "reading takes no locks"
    with mk.connect(path, allow_network_fs=True) as cluster:
        send(cluster, b"allowed")
        assert [record.value for record in cluster.consumer(["t"])] == [b"before", b"allowed"]


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "tmpfs", "overlay", "zfs", "fuse.fuse-overlayfs", ""])
def test_a_writer_accepts_a_local_file_system(on, tmp_path, kind):
    on(kind)
    with mk.connect(str(tmp_path / "log"), create=True) as cluster:
        cluster.create_topic("t")
        send(cluster, b"v")


def test_nothing_is_made_on_a_network_file_system_that_is_refused(on, tmp_path):
    on("nfs4")
    with pytest.raises(NetworkFileSystemError), mk.connect(str(tmp_path / "log"), create=True) as cluster:
        cluster.create_topic("t")
    assert not (tmp_path / "log").exists()


def send(cluster, value):
    with cluster.producer("t") as producer:
        producer.send(value)
