"""Frames: what is sent arrives, whatever the sizes; what is no frame is refused before anything of it is used."""

import os
import socket
import threading

import pytest

from mk.errors import FarSideError, PeerUnreachableError
from mk.transport.channel import BANNER, MAX_BODY_BYTES, MAX_HEAD_BYTES, Channel
from tests.transports.frames import frame, packed, raw_frame, scripted


@pytest.fixture(params=["socket", "pipes"])
def ends(request):
    """Two channels that are each other's far side."""
    if request.param == "socket":
        one, two = socket.socketpair()
        yield Channel(one.fileno(), one.fileno(), peer="two"), Channel(two.fileno(), two.fileno(), peer="one")
        one.close()
        two.close()
    else:
        to_two, from_one = os.pipe()
        to_one, from_two = os.pipe()
        yield Channel(to_one, from_one, peer="two"), Channel(to_two, from_two, peer="one")
        for fd in (to_two, from_one, to_one, from_two):
            os.close(fd)


def sent_by_thread(work):
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_frames_of_all_sizes_arrive_as_they_were_sent(ends):
    one, two = ends
    sizes = [0, 1, 4083, 1 << 18, (1 << 18) + 1, 3 << 20, 5, 20 << 20, 0, 100, 1 << 21, 7]
    bodies = [os.urandom(min(size, 1000)) * (size // 1000 + 1) for size in sizes]

    def send():
        for number, (size, body) in enumerate(zip(sizes, bodies)):
            half = size // 2
            one.send(number, "text \udcff é", b"\x00", None, body=(memoryview(body)[:half], body[half:size], b""))

    thread = sent_by_thread(send)
    for number, (size, body) in enumerate(zip(sizes, bodies)):
        fields = two.receive()
        assert (fields.number(), fields.text(), fields.data(9), fields.scalar(0)) == (
            number,
            "text \udcff é",
            b"\x00",
            None,
        )
        fields.end()
        assert two.body == body[:size]
        assert two.frame_bytes == 12 + len(packed(number, b"\x00", None)) + len("text - é".encode()) + 1 + size
    thread.join(60)
    assert not two.has_input()
    one.send("more")
    assert two.has_input()


def test_the_end_between_two_frames_is_no_error_and_within_one_it_is():
    whole = frame("a", 1, body=b"body")
    with scripted(whole) as channel:
        assert channel.receive().text() == "a"
        assert channel.receive() is None
    for length in range(1, len(whole)):
        with scripted(whole + whole[:length]) as channel:
            channel.receive()
            with pytest.raises(PeerUnreachableError, match=r"far\.example ended"):
                channel.receive()


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (raw_frame(b"\x01", head_length=MAX_HEAD_BYTES + 1), "claims"),
        (raw_frame(b"\x01", body_length=MAX_BODY_BYTES + 1), "claims"),
        (raw_frame(b"\x01", head_length=0xFFFFFFFF, body_length=0xFFFFFFFF), "claims"),
        (raw_frame(b"\x01", b"x", crc=0), "checksum"),
        (raw_frame(b"\x01", b"x")[:-1] + b"y", "checksum"),
    ],
)
def test_what_is_no_frame_is_refused(wrong, why):
    with scripted(wrong + b"\0" * 64) as channel, pytest.raises(FarSideError) as caught:
        channel.receive()
    assert why in caught.value.why


@pytest.mark.parametrize("position", range(12))
def test_every_flipped_bit_of_a_frame_is_noticed(position):
    whole = frame("a", body=b"body")
    for bit in range(8):
        changed = bytearray(whole)
        changed[position] ^= 1 << bit
        with scripted(bytes(changed)) as channel, pytest.raises((FarSideError, PeerUnreachableError)):
            channel.receive()


@pytest.mark.parametrize(
    "head",
    [
        b"\xc1",  # begins no value
        b"\x91" * 100_000 + b"\x00",  # nested deep
        b"\x90",
        b"\x80",
        b"\xdd\xff\xff\xff\xff",  # an array of 2^32
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",  # bytes of that length
        b"\xdb\xff\xff\xff\xff",
        b"\xc9\xff\xff\xff\xff\x01",
        b"\xc7\x00\x01",
        b"\xcb" + b"\x7f\xf0" + b"\x00" * 6,  # a float
        b"\xa5abc",  # cut short
        b"",
    ],
)
def test_a_head_with_anything_but_scalars_is_refused(head):
    with scripted(raw_frame(head)) as channel:
        fields = channel.receive()
        with pytest.raises(FarSideError):
            fields.peek()
    with scripted(raw_frame(b"\x07" + head)) as channel:
        fields = channel.receive()
        assert fields.number() == 7
        if head:
            with pytest.raises(FarSideError):
                fields.end()
        else:
            fields.end()


def test_values_of_another_kind_or_out_of_bounds_are_refused():
    def taken(value, take):
        with scripted(frame(value)) as channel:
            return take(channel.receive())

    for value, take in [
        (1, lambda fields: fields.text()),
        ("abc", lambda fields: fields.text(2)),
        (b"abc", lambda fields: fields.text()),
        ("abc", lambda fields: fields.data(3)),
        (b"abc", lambda fields: fields.data(2)),
        (True, lambda fields: fields.number()),
        (-1, lambda fields: fields.number()),
        (1 << 63, lambda fields: fields.number()),
        (5, lambda fields: fields.number(6, 7)),
        (1, lambda fields: fields.flag()),
        ("D" * 32, lambda fields: fields.id()),
        ("d" * 31, lambda fields: fields.id()),
        ("../" + "d" * 29, lambda fields: fields.id()),
        (b"x", lambda fields: fields.scalar(9)),
        ("abc", lambda fields: fields.scalar(2)),
        (1, lambda fields: fields.end()),
    ]:
        with pytest.raises(FarSideError):
            taken(value, take)
    assert taken("d" * 32, lambda fields: fields.id()) == "d" * 32
    assert taken((1 << 63) - 1, lambda fields: fields.number()) == (1 << 63) - 1


@pytest.mark.parametrize(
    "noise",
    [
        b"Welcome to the machine\n" + BANNER,
        BANNER.replace(b"\r\n", b"\n"),
        BANNER.replace(b"\n", b"\r\n"),
        bytes(byte & 0x7F for byte in BANNER),
        b"\x1b]52;c;" * 1000,
        b"\0",
    ],
)
def test_noise_before_the_banner_is_shown(noise):
    with scripted(noise) as channel, pytest.raises(FarSideError, match=r"far\.example is not mk") as caught:
        channel.receive_banner()
    assert caught.value.why.isprintable() and len(caught.value.why) < 1000
    if noise.startswith(b"Welcome"):
        assert "Welcome to the machine" in caught.value.why and "profile" in caught.value.fix


def test_a_banner_in_pieces_and_none_at_all():
    with scripted([BANNER[:1], BANNER[1:5], BANNER[5:] + frame("x")]) as channel:
        channel.receive_banner()
        assert channel.receive().text() == "x"
    with scripted(b"") as channel, pytest.raises(PeerUnreachableError):
        channel.receive_banner()


def test_more_than_a_message_may_hold_is_not_sent():
    with scripted(b"") as channel:
        with pytest.raises(FarSideError, match="too much"):
            channel.send(b"x" * MAX_HEAD_BYTES)
        with pytest.raises(FarSideError, match="too much"):
            channel.send(1, body=(bytes(MAX_BODY_BYTES), b"x"))


def test_sending_to_nobody_says_so():
    one, two = socket.socketpair()
    channel = Channel(one.fileno(), one.fileno(), peer="two")
    two.close()
    with pytest.raises(PeerUnreachableError, match="two ended"):
        channel.send(1)
    channel.forget()
    with pytest.raises(PeerUnreachableError, match="two ended"):
        channel.send(1)
    assert channel.receive() is None
    one.close()
