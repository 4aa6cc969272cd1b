"""How a copy with offsets of its own goes on: what is decided of its position and of what the source says."""

import pytest

from mk.errors import DivergedLogError, ReplicationGapError, StaleSourceError, TryAgainError
from mk.replication.reconciliation import BEGIN, COMPACTED, FOLLOW, GAP, NOTHING, REFUSE
from mk.replication.replica import PartitionImage
from mk.replication.resumption import PositionImage, proved_again, resume

US, OTHER = "a" * 32, "b" * 32


def source(*, start=0, end=100, chain=7, epochs=((0, 0, US),), **more):
    image = PartitionImage()
    image.partition = 0
    image.log_start_offset = image.first_offset = start
    image.next_offset, image.chain, image.epochs = end, chain, list(epochs)
    image.cleaned_to = image.tombstones_dropped_to = 0
    image.is_recovered, image.lacks_producers = True, False
    for name, value in more.items():
        setattr(image, name, value)
    return image


def copy(offset=None, *, chain=7, epoch=0, leader=US):
    image = PositionImage()
    image.partition = 0
    image.is_begun = offset is not None
    image.next_offset, image.chain, image.epochs = offset or 0, chain, [(epoch, 0, leader)]
    return image


@pytest.mark.parametrize(
    ("ours", "theirs", "kind", "error"),
    [
        (source(), copy(), BEGIN, None),
        (source(end=0), copy(), NOTHING, None),
        (source(start=5, end=5), copy(), NOTHING, None),
        (source(), copy(50), FOLLOW, None),
        (source(), copy(100), NOTHING, None),
        (source(), copy(100, chain=8), FOLLOW, None),  # To be refused when it is proved.
        (source(), copy(101), REFUSE, DivergedLogError),
        (source(is_recovered=False), copy(101), REFUSE, TryAgainError),
        (source(epochs=((0, 0, OTHER),)), copy(101, leader=OTHER), REFUSE, StaleSourceError),
        (source(), copy(50, epoch=1 << 32, leader=OTHER), REFUSE, StaleSourceError),
        (source(start=60), copy(50), REFUSE, ReplicationGapError),
        (source(tombstones_dropped_to=60), copy(50), REFUSE, ReplicationGapError),
    ],
)
def test_what_is_done_with_a_partition(ours, theirs, kind, error):
    decision = resume("t", ours, US, theirs)
    assert decision.kind == kind
    assert type(decision.error) is (error or type(None))


def test_a_gap_that_is_accepted_is_gone_over_from_where_the_log_begins():
    decision = resume("t", source(start=60), US, copy(50), accept_gap=True)
    assert (decision.kind, decision.prefix_offset, decision.reason) == (FOLLOW, 60, GAP)


def test_another_chain_in_front_of_the_position_is_another_log():
    ours, theirs = source(), copy(50, chain=7)
    decision = resume("t", ours, US, theirs)
    assert proved_again("t", ours, theirs, decision, 7).kind == FOLLOW
    assert proved_again("t", ours, theirs, decision, -1).kind == FOLLOW
    assert isinstance(proved_again("t", ours, theirs, decision, 8).error, DivergedLogError)
    assert isinstance(proved_again("t", ours, theirs, decision, None).error, DivergedLogError)


def test_a_position_within_a_batch_that_was_compacted_is_found_from_the_front():
    ours, theirs = source(cleaned_to=60), copy(50)
    decision = proved_again("t", ours, theirs, resume("t", ours, US, theirs), None)
    assert (decision.kind, decision.prefix_offset, decision.reason) == (FOLLOW, 0, COMPACTED)
