"""What a Replica is told and tells is the same through any connection: compared with one that is asked without any."""

import pytest

from mk import errors
from mk.replication.replica import CommittedOffset, CopiedBatches
from tests.transports.fake_replica import (
    DIRECTORY_ID,
    END,
    OTHER_ID,
    TOPICS,
    FakeReplica,
    batch,
    partition_image,
    plain,
    topic_id_of,
    topic_image,
)


def near():
    return FakeReplica("/srv/mk")


def copied(batches):
    return [
        (each.base_offset, each.next_offset, bytes(each.data), each.begins_segment, each.producers) for each in batches
    ]


def test_what_a_source_tells_arrives_as_it_is(any_far_side):
    far = any_far_side.open()
    assert (far.directory_id, far.address, far.location) == (
        DIRECTORY_ID,
        "here:/srv/mk",
        f"{any_far_side.host}:/srv/mk",
    )
    assert plain(list(far.topics())) == plain(list(near().topics())) and len(list(far.topics())) == len(TOPICS)
    assert plain(list(far.topics(["orders", "none"]))) == plain(list(near().topics(["orders"])))
    assert list(far.topics([])) == []
    assert [far.chain_at("orders", 0, offset) for offset in (0, 10, 20, 30)] == [0, 0xFFFFFFFF, -1, None]
    assert copied(far.read("orders", 1, 0, END)) == copied(near().read("orders", 1, 0, END))
    assert copied(far.read("orders", 1, 30, 50)) == copied(near().read("orders", 1, 30, 50))
    assert copied(far.read("orders", 1, 30, 30)) == []
    assert copied(far.read("orders", 1, END, END)) == copied(near().read("orders", 1, END, END)) != []
    ids = [topic_id_of(name) for name in TOPICS]
    assert plain(far.committed_offsets(ids)) == plain(near().committed_offsets(ids))
    assert far.committed_offsets([]) == []
    assert (far.wait(7), far.wait(8)) == (True, False)
    assert far.digests("orders", 0, 3, 3000) == near().digests("orders", 0, 3, 3000)
    assert far.digests("orders", 0, 3, 3) == []
    far.note_follower(OTHER_ID, "follower:/srv", [(topic_id_of("orders"), 1, 1 << 62)])
    assert far.fence("orders", 0, [(0, 0, DIRECTORY_ID), ((1 << 63) - 1, 5, OTHER_ID)]) is True
    assert far.fence("orders", 1, [(0, 0, DIRECTORY_ID)]) is False
    far.close()
    assert any_far_side.told() == [
        ["note_follower", OTHER_ID, "follower:/srv", [[topic_id_of("orders"), 1, 1 << 62]]],
        ["fence", "orders", 0, [[0, 0, DIRECTORY_ID], [(1 << 63) - 1, 5, OTHER_ID]]],
        ["fence", "orders", 1, [[0, 0, DIRECTORY_ID]]],
        ["close"],
    ]


def test_what_a_target_is_told_arrives_as_it_is(any_far_side, tmp_path):
    def push(replica):
        assert replica.begin(OTHER_ID, "leader:/srv") is True
        assert replica.begin(DIRECTORY_ID, "") is False
        replica.create_topic(topic_image("orders"))
        replica.update_topic(topic_image("orders", partitions=3))
        writer = replica.follow("orders", partition_image(0), 20, 0xFFFFFFFF)
        other = replica.begin_anew("orders", partition_image(1), reason="gap")
        assert (writer.next_offset, other.next_offset) == (20, 0)
        for each in near().read("orders", 0, 20, END):
            writer.append(each)
        assert writer.next_offset == END
        assert (writer.sync(), other.sync(), writer.sync()) == (END, 0, END)
        writer.advance_log_start(4)
        writer.close()
        third = replica.follow("audit", partition_image(0), 0, -1)
        third.append(CopiedBatches(0, 7, b"x", begins_segment=True, producers=b"p"))
        third.append(CopiedBatches(7, 7, b"", begins_segment=True, producers=b"q"))
        assert third.sync() == 7
        third.close()
        other.close()
        replica.store_committed_offsets(OTHER_ID, [CommittedOffset("g", topic_id_of("orders"), 1, 5, 1 << 40)])
        replica.note_source(OTHER_ID, "leader:/srv", [(topic_id_of("orders"), 0, END)])
        replica.close()

    push(any_far_side.open())
    told = any_far_side.told()
    (tmp_path / "told").unlink()
    push(FakeReplica("/srv/mk", told=str(tmp_path / "told")))
    assert told == any_far_side.told()
    assert len(told) > 20


def test_a_directory_is_made_only_if_asked_for(any_far_side):
    with pytest.raises(errors.NoSuchDirectoryError) as caught:
        any_far_side.open("/srv/missing")
    assert caught.value.what == f"on {any_far_side.host}: no log directory at /srv/missing"
    assert caught.value.facts == {"path": "/srv/missing", "peer": any_far_side.host}
    any_far_side.open("/srv/mk", create=True, lock_wait_ms=1 << 62, allow_network_fs=True)
    opened = (any_far_side.tmp_path / "told").read_text().splitlines()[-1]
    assert opened == ('["open", "/srv/mk", [["allow_network_fs", true], ["create", true], ["lock_wait_ms", 86400000]]]')


def test_errors_are_of_the_same_class_and_the_connection_goes_on(far_side):
    far = far_side.open()
    with pytest.raises(errors.CorruptBatchError, match="audit/0.log is damaged") as caught:
        list(far.read("audit", 0, 0, END))
    assert (caught.value.exit_status, caught.value.why) == (65, "no batch")
    assert caught.value.facts["position"] == 9
    # In the middle of an answer too, with what came before it.
    seen = []
    with pytest.raises(errors.CorruptBatchError):
        for each in far.read("orders.archive", 0, 0, END):
            seen.append(each.base_offset)
    assert seen == [0, 10, 20]
    with pytest.raises(errors.MkError, match="mk itself failed: ZeroDivisionError") as caught:
        far.create_topic(topic_image("bug"))
    assert caught.value.exit_status == 70 and "secret words" not in str(vars(caught.value))
    assert far.wait(7) is True


def test_errors_of_appends_come_with_the_next_sync_and_stay(far_side):
    far = far_side.open()
    writer = far.follow("orders", partition_image(0), 0, 0)
    for number in (0, 2, 3):
        writer.append(CopiedBatches(number * 10, number * 10 + 10, batch("orders", number), begins_segment=False))
    for _ in range(2):
        with pytest.raises(errors.CorruptBatchError, match="offset 20"):
            writer.sync()
    with pytest.raises(errors.CorruptBatchError):
        writer.advance_log_start(4)
    writer.close()
    assert far.wait(7) is True
    far.close()
    appended = [what[2] for what in far_side.told() if what[0] == "append"]
    assert appended == [0]


def test_an_answer_that_nobody_wants_is_stopped(any_far_side):
    far = any_far_side.open(variables={"FAKE_ENDLESS": "1", "FAKE_BATCH_BYTES": "1000000"})
    batches = far.read("orders", 0, 0, 1 << 60)
    for expected in range(5):
        assert next(batches).base_offset == expected * 10
    assert far.wait(7) is True
    with pytest.raises(RuntimeError, match="read on"):
        next(batches)
    other = far.read("orders", 0, 0, 1 << 60)
    next(other)
    assert far.chain_at("orders", 0, 10) == 0xFFFFFFFF
    # An answer that has come to its end in the meantime is stopped as well: the two words cross.
    short = far.topics()
    next(short)
    assert far.wait(7) is True
    assert len(list(short)) == len(TOPICS) - 1
    next(far.read("orders", 0, 0, 1 << 60))
    far.close()


def test_topics_come_in_pages_between_which_anything_may_be_asked(far_side):
    far = far_side.open(variables={"FAKE_TOPICS": "600"})
    names = []
    for image in far.topics():
        names.append(image.name)
        if len(names) % 100 == 0:
            assert far.wait(7)
            assert [other.name for other in far.topics(["orders"])] == ["orders"]
    assert len(names) == 600 + len(TOPICS) and names == sorted(names)
    listings = [far.topics() for _ in range(9)]
    for listing in listings:
        next(listing)
    with pytest.raises(RuntimeError, match="at once"):
        list(listings[0])
    assert len(list(listings[8])) == 600 + len(TOPICS) - 1


def test_a_batch_of_the_largest_size_goes_through(far_side):
    size = (64 << 20) + 128
    far = far_side.open(variables={"FAKE_BATCH_BYTES": str(size)})
    (batches,) = (len(each.data) for each in far.read("orders", 0, 0, 10))
    assert batches == size
    writer = far.follow("orders", partition_image(0), 0, 0)
    data = bytes(size)
    writer.append(CopiedBatches(0, 1, data, begins_segment=False, producers=bytes(1 << 20)))
    assert writer.sync() == 1
