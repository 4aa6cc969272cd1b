"""The brokers that coordinate groups, and what they say of them.

librdkafka dies of a null pointer where a request for the offsets of a group meets a coordinator that does not serve it yet, as when
a cluster makes the topic of its groups, or one of its brokers has just started. A description of the group is told as much
without harm. So who asks for offsets, or changes them, asks for that first.
"""

from __future__ import annotations

from mk.errors import MkError, NotFoundError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence
    from typing import Any

    from mk.kafka_cluster.client import Client

    Places = Sequence[tuple[str, int]]
    """Topics and partitions."""


def descriptions(client: Client, groups: Iterable[str], what: str) -> dict[str, Any]:
    """Return what the coordinators say of some groups, as the library has it, or of each the error. They serve them by then.

    what: what cannot be done, with {group} in it. Of a group that is not there it is NotFoundError.
    """
    return client.ask(client.admin.describe_consumer_groups, groups, lambda group: _about(group, what))


def committed_offsets(
    client: Client, places: Mapping[str, Places | None], what: str, *, served: Container[str] = ()
) -> dict[str, Any]:
    """Return of each group the library's TopicPartition for some topics and partitions, with a negative offset where there is
    none; of None, for all that it has committed. Or the error that stands between us and that group.

    what: what cannot be done, with {group} in it. served: of those the coordinators have just answered.
    """
    from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition

    admin = client.admin
    found: dict[str, Any] = {}
    # Each time anew: in a run that follows for weeks, coordinators move.
    for group, description in descriptions(client, [group for group in places if group not in served], what).items():
        if isinstance(description, MkError) and not isinstance(description, NotFoundError):
            found[group] = description

    def request(groups: list[str]) -> dict[str, Any]:
        futures: dict[str, Any] = {}
        for group in groups:
            wanted = places[group]
            partitions = None if wanted is None else [TopicPartition(*place) for place in wanted]
            # Without what a transaction is about to commit: who asks would wait for its end otherwise.
            futures |= admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group, partitions)])
        return futures

    answers = client.ask(request, [group for group in places if group not in found], lambda group: _about(group, what))
    for group, answer in answers.items():
        found[group] = answer if isinstance(answer, MkError) else list(answer.topic_partitions)
    return found


def check_is_served(client: Client, group: str, what: str) -> None:
    """Raise what keeps the coordinator of a group from serving it. One that is not there is served."""
    description = descriptions(client, (group,), what)[group]
    if isinstance(description, MkError) and not isinstance(description, NotFoundError):
        raise description


def committed_places(client: Client, places: Mapping[str, Places | None], what: str) -> dict[str, list[Any]]:
    """Return the same of groups that must all answer for all places. Raises the error of the first that does not."""
    found = committed_offsets(client, places, what)
    for group, answer in found.items():
        if isinstance(answer, MkError):
            raise answer
        for place in answer:
            if place.error is not None:
                raise client.error(place.error, **_about(group, what))
    return found


def _about(group: str, what: str) -> dict[str, Any]:
    return {"what": what.format(group=group), "group": group}
