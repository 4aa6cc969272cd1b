"""The position of a copy, as it is committed: it comes back as it was, and always fits into what a broker takes."""

from hypothesis import given
from hypothesis import strategies as st

from mk.kafka_cluster.copy_position import CopyPosition, decode_position, with_place

_LARGE = (1 << 62) - 1


def steps(count, width):
    return [(number * width, number * (width + 1)) for number in range(1, count + 1)]


@given(
    offset=st.integers(0, _LARGE),
    chain=st.integers(-1, (1 << 32) - 1),
    epoch=st.integers(-1, (1 << 64) - 1),
    places=st.lists(st.tuples(st.integers(0, _LARGE), st.integers(0, _LARGE)), max_size=48),
)
def test_it_comes_back_as_it_was(offset, chain, epoch, places):
    made = CopyPosition(offset, "a" * 32, "b" * 32, chain=chain, epoch=epoch, leader_id="c" * 32, places=sorted(places))
    found = decode_position(offset, made.encode())
    assert not found.is_by_hand
    for name in CopyPosition.__slots__:
        assert getattr(found, name) == getattr(made, name)


def test_however_long_a_copy_runs_its_text_is_what_a_broker_takes():
    places = []
    for place in steps(20_000, 10**14):
        places = with_place(places, place)
        assert len(CopyPosition(1 << 62, "a" * 32, "b" * 32, places=places, leader_id="c" * 32).encode()) < 4096
    assert places[-1] == (20_000 * 10**14, 20_000 * (10**14 + 1))


def test_of_old_places_ever_fewer_stay_and_the_first_one_of_all():
    places = []
    for place in steps(1000, 10):
        places = with_place(places, place)
    assert places[0] == (10, 11)
    assert places[-16:] == steps(1000, 10)[-16:]
    distances = [after[0] - before[0] for before, after in zip(places, places[1:])]
    assert distances[0] > 8 * distances[-1]


def test_the_place_in_front_of_an_offset_is_never_behind_it():
    position = CopyPosition(40, "", "", places=steps(4, 10))
    assert [position.place_before(offset) for offset in (9, 10, 19, 40, 99)] == [
        None,
        (10, 11),
        (10, 11),
        (40, 44),
        (40, 44),
    ]


def test_what_somebody_else_has_committed_is_a_position_set_by_hand():
    for metadata in (None, "", "{}", "[]", "7", '{"mk":2}', '{"mk":1}', '{"mk":1,"places":[1]}', "text"):
        found = decode_position(7, metadata)
        assert found.is_by_hand
        assert found.offset == 7
