"""Which topic of a target is the copy of which topic of a source. Pure.

By their ids: a name says nothing, since a topic that was deleted and made anew has the same one.
"""

from __future__ import annotations

from mk.errors import DataError, MkError, StorageError
from mk.topic_partition import MAX_NAME_LENGTH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mk.replication.replica import TopicImage


_ABSENT = object()
_UNREADABLE = "`mk topics verify` there tells more; the other topics are not affected"


class TopicPair:
    """A topic of the source, its copy if there is one, and the name that the copy has, or shall have.

    error: why there can be none. before: the name that the copy had when the run began. interim: one that it takes first, so
    that another copy can have that.
    """

    __slots__ = ("before", "error", "interim", "name", "source", "target")

    def __init__(self, source: TopicImage, target: TopicImage | None, name: str, error: MkError | None = None) -> None:
        self.source = source
        self.target = target
        self.name = name
        self.error = error
        self.before = name if target is None else target.name
        self.interim = ""

    @property
    def is_renamed(self) -> bool:
        return self.target is not None and self.target.name != self.name

    @property
    def differs(self) -> bool:
        """Tell whether the copy is to be changed: its settings, number of partitions, pins or name."""
        if self.target is None:
            return False
        return bool(self.changed_fields) or not self.source.pins.items() <= self.target.pins.items() or self.is_renamed

    @property
    def changed_fields(self) -> list[str]:
        """Return the names of the settings, and what else topic.json has, in which the copy is to become as the source."""
        if self.target is None:
            return []
        there, here = self.target.fields, {**self.source.fields, "name": self.target.name}
        return sorted(key for key in {*there, *here} if there.get(key, _ABSENT) != here.get(key, _ABSENT))

    @property
    def lacks_pins(self) -> bool:
        return self.target is not None and not self.source.pins.keys() <= self.target.pins.keys()


def pair_topics(
    sources: Sequence[TopicImage],
    targets: Sequence[TopicImage],
    *,
    prefix: str,
    source_id: str,
    is_chosen: Callable[[str], bool],
) -> list[TopicPair]:
    """Return the pairs of the topics that are chosen, by name in the source; of those that are to be renamed, each behind
    the one that makes room for it, and before those that take the old names.

    prefix: what the names have in front in the target, with its dot; may be empty.
    """
    left_out = {image.topic_id: image.name for image in sources if not is_chosen(image.name)}
    sources = [image for image in sources if is_chosen(image.name)]
    by_id = {image.topic_id: image for image in targets if image.topic_id}
    by_name = {image.name: image for image in targets}
    ids = {image.topic_id for image in sources}
    twice = {id for images in (sources, targets) for id in _more_than_once([image.topic_id for image in images])}
    pairs = []
    for source in sources:
        name = prefix + source.name
        target = by_id.get(source.topic_id) if source.topic_id else None
        holder = by_name.get(name)
        if holder is not None and (holder is target or (holder.topic_id in ids and holder.topic_id != source.topic_id)):
            holder = None  # It is the one, or will have another name itself.
        error: MkError | None = None
        if source.problem:
            error = unreadable(f"topic {source.name} of SRC", source)
        elif target is not None and target.problem:
            error = unreadable(f"topic {name} of DST", target)
        elif source.topic_id in twice:
            error = DataError(
                f"there are two topics with the id of topic {source.name} of SRC",
                why=f"in SRC or in DST two have {source.topic_id}, as after a copy made by hand",
                fix="`mk topics delete` the one that is of no use; nothing of them was changed",
            )
        elif len(name) > MAX_NAME_LENGTH:
            error = DataError(
                f"topic {source.name} cannot be {name} in DST",
                why=f"a name has at most {MAX_NAME_LENGTH} characters",
                fix="choose a shorter --prefix",
            )
        elif target is not None and _has_other_prefix(target.name, source.name, prefix):
            error = DataError(
                f"topic {source.name} of SRC is {target.name} in DST, and cannot be {name} there too",
                why=f"both have the id {source.topic_id}",
                fix="give the --prefix that it was copied with, or leave it out with --exclude; if it was renamed in SRC, "
                f"`mk topics rename {target.name} {name}` in DST; nothing of it was changed",
            )
        elif holder is not None:
            error = _is_another(source, holder, name, source_id, left_out.get(holder.topic_id))
        pairs.append(TopicPair(source, target, name, error))
    return _renamed_in_turn(pairs, prefix) + [pair for pair in pairs if not pair.is_renamed]


def _renamed_in_turn(pairs: Sequence[TopicPair], prefix: str) -> list[TopicPair]:
    waiting = {pair.target.name: pair for pair in pairs if pair.target is not None and pair.is_renamed}
    ordered: list[TopicPair] = []
    aside: list[TopicPair] = []
    while waiting:
        free = [name for name, pair in waiting.items() if pair.name not in waiting]
        ordered += [waiting.pop(name) for name in free]
        if not free:
            # They have exchanged their names: no one can go first, unless one steps aside.
            pair = waiting.pop(next(iter(waiting)))
            if pair.error is None:
                pair.interim = prefix + pair.source.topic_id
            aside.append(pair)
    return ordered + aside


def gone_topics(
    sources: Sequence[TopicImage],
    targets: Sequence[TopicImage],
    *,
    prefix: str,
    source_id: str,
    is_chosen: Callable[[str], bool],
) -> list[str]:
    """Return the names, in the target, of topics that the source led and does not have any more."""
    ids = {image.topic_id for image in sources}
    return [
        image.name
        for image in targets
        if image.topic_id not in ids
        and image.name.startswith(prefix)
        and is_chosen(image.name[len(prefix) :])
        and any(partition.epochs[-1][2] == source_id for partition in image.partitions)
    ]


def _has_other_prefix(copy: str, name: str, prefix: str) -> bool:
    """Tell whether a copy has its name from a run with another prefix: to rename it would undo that run's."""
    return not copy.startswith(prefix) or (copy != prefix + name and copy.endswith(f".{name}"))


def _more_than_once(ids: Sequence[str]) -> set[str]:
    return {id for id in ids if id and ids.count(id) > 1} if len(set(ids)) < len(ids) else set()


def unreadable(which: str, image: TopicImage) -> MkError:
    """Return the error of a topic whose image has a problem."""
    kind = StorageError if image.is_refused else DataError
    return kind(f"{which} cannot be read", why=image.problem, fix=_UNREADABLE)


def _is_another(source: TopicImage, holder: TopicImage, name: str, source_id: str, renamed_to: str | None) -> MkError:
    if holder.problem:
        return unreadable(f"topic {name} of DST", holder)
    if renamed_to is not None:
        return DataError(
            f"topic {name} of DST is no copy of {source.name} of SRC",
            why=f"it is one of {renamed_to}, which had that name in SRC, and is not among the topics of this run",
            fix=f"replicate {renamed_to} as well; nothing of it was changed",
            topic=name,
        )
    was_copied = any(partition.epochs[-1][2] == source_id for partition in holder.partitions)
    return DataError(
        f"topic {name} of DST is no copy of {source.name} of SRC",
        why=f"it was copied from there, with the id {holder.topic_id}, and then deleted from SRC and made anew"
        if was_copied
        else f"it is another directory's, with the id {holder.topic_id}, and SRC's has {source.topic_id}",
        fix=f"`mk topics delete {name}` in DST if its records are of no use any more, or `mk topics rename` it; nothing of it "
        "was changed"
        if was_copied
        else "choose another name for it with --prefix, or leave it out with --exclude; nothing of it was changed",
        topic=name,
    )
