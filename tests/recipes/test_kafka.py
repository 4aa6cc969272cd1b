"""Moving up to a Kafka cluster and down again, as mk-recipes(7) has it: with a real broker, and producers that go on."""

import pytest
from recipe_blocks import place, recipe, wait_until  # noqa: F401  a fixture

pytest.importorskip("confluent_kafka")

UP = "Moving up to a Kafka cluster"
DOWN = "A topic of a Kafka cluster on a laptop"


@pytest.fixture
def cluster(broker):
    """The words of a recipe for this broker."""

    def of(block):
        return block.replace("kafka://h1:9092,h2:9092", f"kafka://{broker.address}")

    return of


def numbers(first, last):
    return [str(number) for number in range(first, last + 1)]


def moved_up(place, cluster):  # noqa: F811
    """Ten orders and more while they are copied; billing has read seven and audit all of them when the others are started."""
    follow, rest, again = map(cluster, recipe(UP))
    place.shell("seq 10 | mk produce orders -q -k u1; mk consume orders -q -g billing -n 4")
    words = place.paste(follow).split()
    running = place.start([place.bin / "mk", *words[1:]], env=place.environment())
    place.shell(
        "seq 11 20 | mk produce orders -q -k u1; mk consume orders -q -g billing -n 3; mk consume orders -q -g audit"
    )
    url = cluster("kafka://h1:9092,h2:9092")
    wait_until(lambda: place.shell(f"mk consume orders -d {url}", check=False).stdout.splitlines() == numbers(1, 20))
    # A producer goes on until the topic is sealed.
    place.shell("seq 21 25 | mk produce orders -q -k u1")
    running.terminate()
    running.communicate(timeout=30)
    return rest, again


def test_a_topic_moves_up_and_nothing_is_lost_and_nothing_read_twice(place, cluster):  # noqa: F811
    rest, again = moved_up(place, cluster)
    # Killed at any line, all of them are run again.
    for number in range(1, len(rest.splitlines()) + 1):
        place.shell("\n".join(rest.splitlines()[:number]))
    refused = place.shell("mk produce orders -q late", check=False)
    assert refused.returncode
    read = place.shell(again).stdout.splitlines()
    assert read == [*numbers(8, 25), "done"]
    assert place.shell(again).stdout.splitlines() == ["done"]
    export = again.splitlines()[0]
    assert place.shell(f"{export}\nmk consume orders -g audit").stdout.splitlines() == [
        *numbers(21, 25),
        "done",
        "done",
    ]
    assert place.shell(f"{export}\nmk consume orders").stdout.splitlines() == [*numbers(1, 25), "done", "done"]


def test_a_topic_comes_down_and_is_used(place, cluster):  # noqa: F811
    rest, again = moved_up(place, cluster)
    place.shell(rest)
    place.shell(again)
    copy, lead = map(cluster, recipe(DOWN))
    for _ in range(2):
        place.shell(copy.splitlines()[0])
    assert place.shell(copy).stdout.splitlines() == []  # billing has read all in the cluster.
    here = place.top / "srv/laptop"
    assert place.values("orders", directory=here) == [*numbers(1, 25), "done"]
    export = again.splitlines()[0]
    place.shell(f"{export}\nmk produce orders -q -k u1 more")
    place.shell(lead)
    assert place.values("orders", "-g billing", directory=here) == ["more", "here"]
    refused = place.shell(copy.splitlines()[0], check=False)
    assert refused.returncode == 75
