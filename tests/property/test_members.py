"""Files of members: what is written comes back, and what is not whole is nobody."""

import hypothesis.strategies as st
from hypothesis import given

from mk.groups.member import Member, decode_heartbeat, decode_member, encode_heartbeat

IDS = st.text("0123456789abcdef", min_size=32, max_size=32)
NAMES = st.text("abcXYZ019._-", min_size=1, max_size=20).filter(lambda name: name[0].isalnum() and name[-1] != ".")
LINES = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), max_size=40)
MEMBERS = st.builds(
    lambda member_id, **fields: Member(member_id, **fields),
    IDS,
    host=LINES,
    pid=st.integers(1, 1 << 22),
    user=LINES,
    boot_id=LINES,
    command=LINES,
    topics=st.dictionaries(IDS, NAMES, max_size=5),
    partitions=st.none() | st.lists(st.integers(0, 4095), unique=True).map(tuple),
    since_ms=st.integers(0, 1 << 45),
    session_timeout_ms=st.integers(100, 86_400_000),
)


@given(MEMBERS)
def test_a_member_comes_back_as_it_was(member):
    read = decode_member(member.encode())
    assert read == member
    assert (read.topics, read.partitions) == (member.topics, member.partitions)


@given(MEMBERS, st.data())
def test_no_part_of_a_member_and_no_damaged_one_is_a_member(member, data):
    document = member.encode()
    assert decode_member(document[: data.draw(st.integers(0, len(document) - 2))]) is None
    damaged = bytearray(document)
    damaged[data.draw(st.integers(0, len(document) - 14))] ^= 1 << data.draw(st.integers(0, 7))
    assert decode_member(bytes(damaged)) is None


@given(st.binary(max_size=200))
def test_anything_else_is_nobody(data):
    assert decode_member(data) is None
    assert decode_heartbeat(data) is None


@given(st.integers(0, 10**20 - 1), st.data())
def test_a_heartbeat_comes_back_or_is_not_one(counter, data):
    encoded = encode_heartbeat(counter)
    assert len(encoded) == 64 and decode_heartbeat(encoded) == counter
    torn = encoded[: data.draw(st.integers(0, 43))].ljust(64, b"\0")
    assert decode_heartbeat(torn) is None


@given(MEMBERS)
def test_what_people_put_into_a_command_line_stays_on_its_line(member):
    member.command = f"mk consume {member.command}\nmember=0\r\x1b[2J\u2028"
    read = decode_member(member.encode())
    assert read is not None and read.member_id == member.member_id
    assert "\n" not in read.command and "\x1b" not in read.command
