"""Any bytes at all through the parser of frames: refused or understood, never anything else, however they are cut up."""

from __future__ import annotations

import os

from hypothesis import given
from hypothesis import strategies as st

from mk.errors import FarSideError, PeerUnreachableError
from mk.transport.channel import Channel
from mk.transport.fields import Fields
from tests.transports.frames import frame, raw_frame

_SCALARS = st.one_of(
    st.text(max_size=20), st.binary(max_size=20), st.integers(-(1 << 63), (1 << 64) - 1), st.booleans(), st.none()
)
_FRAMES = st.one_of(
    st.binary(max_size=60),
    st.builds(raw_frame, st.binary(max_size=60), st.binary(max_size=60)),
    st.builds(lambda values, body: frame(*values, body=body), st.lists(_SCALARS, max_size=5), st.binary(max_size=3000)),
    st.builds(
        lambda head, lengths: raw_frame(head, head_length=lengths[0], body_length=lengths[1]),
        st.binary(max_size=20),
        st.tuples(st.integers(0, 5 << 20), st.integers(0, 70 << 20)),
    ),
)


def _drain(channel: Channel) -> list[list[object]]:
    """Return the values of each frame, until there are no more or one is refused."""
    found = []
    try:
        while (fields := channel.receive()) is not None:
            values: list[object] = []
            found.append(values)
            while True:
                values.append(fields.peek())
                fields._take()
    except (FarSideError, PeerUnreachableError):
        pass
    return found


@given(pieces=st.lists(_FRAMES, max_size=4))
def test_any_bytes_are_refused_or_understood(pieces: list[bytes]) -> None:
    read_fd, write_fd = os.pipe()
    try:
        os.write(write_fd, b"".join(pieces)[:60_000])
        os.close(write_fd)
        _drain(Channel(read_fd, -1, peer="somebody"))
    finally:
        os.close(read_fd)


@given(lists=st.lists(st.lists(_SCALARS, max_size=5), max_size=5), cuts=st.lists(st.integers(1, 40), max_size=30))
def test_frames_arrive_however_they_are_cut_up(lists: list[list[object]], cuts: list[int]) -> None:
    read_fd, write_fd = os.pipe()
    data = b"".join(frame(*values, body=b"b" * len(values)) for values in lists)

    def feed(fd: int, is_read: bool) -> None:
        nonlocal data
        if data:
            size = cuts.pop() if cuts else len(data)
            os.write(write_fd, data[:size])
            data = data[size:]
        else:
            os.close(write_fd)

    channel = Channel(read_fd, -1, peer="somebody", wait=feed)
    try:
        for values in lists:
            fields = channel.receive()
            assert fields is not None
            assert [fields._take() for _ in values] == values
            fields.end()
            assert channel.body == b"b" * len(values)
        assert channel.receive() is None
    finally:
        os.close(read_fd)


@given(head=st.binary(max_size=200))
def test_any_head_gives_scalars_or_is_refused(head: bytes) -> None:
    fields = Fields(head, "somebody")
    try:
        while True:
            assert type(fields._take()) in (str, bytes, int, bool, type(None))
    except FarSideError:
        pass
