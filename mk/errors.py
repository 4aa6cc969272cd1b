"""Every way in which mk can refuse or fail, as one tree.

    MkError                        70  a bug in mk; never raised as such
      RecordFailedError             1  some items failed, the others are done
      UsageError                    2  the command line asks for something impossible, or needs --yes
      ConditionFalseError           3  the asked-for condition is false
        NoSuchKeyError                 no record has that key
        KeyDeletedError                the last record with that key is a tombstone
      DataError                    65  damaged or unparsable data
        CorruptBatchError              a batch below the high watermark that does not prove itself
        CorruptStateError              a state, epochs or JSON file that contradicts itself or the segments
        CommitBeyondEndError           a group has committed an offset that this log does not have
        CursorBeyondEndError           a cursor file has one
        RecordTooLargeError            an input record over max.message.bytes
        KeyRequiredError               a record without a key for a topic that is compacted
        InputGapError                  records of a followed input may be missing
        BadInputError                  a piece of the input is no record of its format
        DivergedLogError               a copy and its source hold different records at one offset
        BadCopyError                   batches of a source that do not prove themselves, or do not fit here
        ReplicationGapError            the source no longer has the records that a copy needs next
      NotFoundError                66  no such directory, topic, partition, offset or input file
        NoSuchDirectoryError
        NoSuchTopicError               also: deleted, renamed or made anew while we worked
        NoSuchPartitionError
        OffsetOutOfRangeError
        NoSuchGroupError
        NoSuchMemberError              or more than one that could be meant
        UnreadableInputError           an input file that cannot be opened
        NoSuchCommandError             what --exec is to run is not there
      PeerUnreachableError         69  another host, or the mk there, cannot be reached or went away
      CannotCreateError            73  something is there already, or cannot be made
        TopicExistsError
      StorageError                 74  the disk, a file system or an output refused
        DiskFullError                  nothing of the append is stored
          DiskReserveError             there is less free space than min.free
        SyncFailedError                indeterminate: the append may or may not be stored
        PartitionFailedError           FAILED is set: the disk refused a sync and a new segment too
      TryAgainError                75  not now: a lock was not got in time, or another directory leads
        LockTimeoutError
        CursorInUseError               another process has that cursor file
        NotLeaderError
        StaleSourceError               the source of a replication is behind: it does not lead, or not yet again
        ClaimFencedError               another member of the group has taken the partition
        GroupNotEmptyError             members of the group live, and its offsets are theirs to commit
        OffsetsMovedError              the group has committed since its offsets were looked at
      FarSideError                 76  what answers on another host is no mk, or one too old or too new
        ProtocolVersionError           the two have no version of the protocol in common
      PermissionDeniedError        77  permission denied
        TopicSealedError               it takes no more records until the seal is undone
      ConfigurationError           78  a setting that cannot be, or a place where this mk must not write
        UnsupportedFormatError         a directory or topic written by a newer mk
        UnsupportedBatchError          a batch written by a newer mk
        NetworkFileSystemError         locks are not proven there
      TimedOutError               124  a --timeout ran out
        NotMetError                    before what was waited for came

A class for each thing that a caller may do differently, not for each place where it happens. Constructors take facts by
keyword and build the sentence from them; the facts stay readable as `facts`, which is what `--json` prints.
The command line turns an error into text and exit status in one place (mk/cli/main.py).

The errors of groups are written down in mk.group_errors, and can be had from here.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mk.group_errors import ClaimFencedError as ClaimFencedError
    from mk.group_errors import CommitBeyondEndError as CommitBeyondEndError
    from mk.group_errors import GroupNotEmptyError as GroupNotEmptyError
    from mk.group_errors import NoSuchGroupError as NoSuchGroupError
    from mk.group_errors import NoSuchMemberError as NoSuchMemberError
    from mk.group_errors import OffsetsMovedError as OffsetsMovedError


class MkError(Exception):
    """An error with what happened, why, and what to do next.

    what: one line, no full stop. why: the cause, if it is known. fix: the next thing to type, and what state the data
    is in. Each of them may quote names and numbers, never record values.
    is_of_append: raised to a producer by an append, and not because of the record that was just sent: what waited for it is
    not stored, and no longer waits.
    """

    exit_status = 70
    retriable = False
    is_of_append = False

    def __init__(self, what: str, *, why: str = "", fix: str = "", **facts: object) -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.fix = fix
        self.facts = facts

    def __reduce__(self) -> "tuple[object, ...]":
        """Have copies and pickles made without the constructor: those of subclasses take facts, and not the sentence."""
        return _again, (type(self), self.args), self.__dict__


def _again(kind: "type[MkError]", args: "tuple[object, ...]") -> MkError:
    return kind.__new__(kind, *args)


class RecordFailedError(MkError):
    """A command of --exec failed for good on a record, or on some, and nobody takes dead letters.

    status: of its exit, or the signal that killed it. The record does not count as consumed; those before it do.
    """

    exit_status = 1

    def __init__(
        self,
        *,
        topic: str,
        partition: int,
        offset: int,
        last_offset: int,
        status: str,
        tries: int,
        why: str,
        is_command_bad: bool,
        records_done: int,
        group: str | None = None,
    ) -> None:
        which = f"offset {offset}" if offset == last_offset else f"offsets {offset} to {last_offset}"
        ended = f"killed by {status}" if status.startswith("signal") else f"status {status}"
        again = (
            f"the same command goes on at offset {offset}"
            if group is not None
            else f"`-p {partition} -o {offset}` goes on there"
        )
        super().__init__(
            f"the command failed on {which} of partition {partition} of {topic}: {ended}, after {tries}"
            f" {'try' if tries == 1 else 'tries'}",
            why=why,
            fix=(
                "look at the command"
                if is_command_bad
                else "look at that record, or put such records aside with --dlq TOPIC"
            )
            + f"; {records_done} {'record is' if records_done == 1 else 'records are'} done, and {again}",
            topic=topic,
            partition=partition,
            offset=offset,
            last_offset=last_offset,
            status=status,
            tries=tries,
            records_done=records_done,
        )


class UsageError(MkError):
    exit_status = 2


class ConditionFalseError(MkError):
    """What was asked for is not so; nothing failed."""

    exit_status = 3


class NoSuchKeyError(ConditionFalseError):
    """No record has the key, in the partitions that were searched."""

    def __init__(self, *, topic: str, key: str, partitions: list[int], all_partitions: int) -> None:
        elsewhere = all_partitions > len(partitions)
        where = f"partition {','.join(map(str, partitions))} of {topic}" if elsewhere else f"topic {topic}"
        super().__init__(
            f"no record in {where} has the key '{key}'",
            fix="`--all-partitions` searches the others too" if elsewhere else "",
            topic=topic,
            key=key,
            partitions=partitions,
        )


class KeyDeletedError(ConditionFalseError):
    """The last record with the key has no value: it says that the key is deleted."""

    def __init__(self, *, topic: str, key: str, partition: int, offset: int) -> None:
        super().__init__(
            f"the key '{key}' was deleted from {topic}",
            why=f"the last record with it, offset {offset} of partition {partition}, is a tombstone",
            topic=topic,
            key=key,
            partition=partition,
            offset=offset,
        )


class DataError(MkError):
    exit_status = 65


class CorruptBatchError(DataError):
    """Bytes below the high watermark, or below the durable end, are not the batch that was stored there.

    readable_from: the first offset behind the damage from which reading can go on; -1 if none is known.
    """

    def __init__(self, *, path: str, position: int, offset: int, found: str, readable_from: int = -1) -> None:
        super().__init__(
            f"{path} is damaged at byte {position}, offset {offset}",
            why=found,
            fix="nothing was changed; `mk topics verify` shows all damage; restore the file from a copy, or let `mk topics "
            "repair` go on without what is lost"
            + (
                f", or read on with `-o {readable_from}`, the next offset behind the damage that is surely found"
                if readable_from >= 0
                else ""
            ),
            path=path,
            position=position,
            offset=offset,
            found=found,
            readable_from=readable_from,
        )


class CorruptStateError(DataError):
    """A small file of the directory is unreadable, or disagrees with the segments."""

    def __init__(
        self,
        *,
        path: str,
        found: str,
        fix: str = "nothing was changed; `mk topics verify` shows all damage; restore the file from a copy, or let `mk topics "
        "repair` make it again where it can",
    ) -> None:
        super().__init__(f"{path} is damaged", why=found, fix=fix, path=path, found=found)


class CursorBeyondEndError(DataError):
    """A position in a cursor file that is not one of this log: it was cut, or is a copy.

    stands_at: up to where the log is the one that was read.
    """

    def __init__(self, *, path: str, topic: str, partition: int, offset: int, stands_at: int) -> None:
        super().__init__(
            f"cursor file {path} is at offset {offset} of partition {partition} of {topic}, and the log is another one",
            why=f"it is the one that was read up to offset {stands_at} only: records were lost, as when a copy was "
            "restored; others have their offsets, or will have them",
            fix=f"`-p {partition} -o {stands_at}` goes on there with another cursor file, or without one; `-o start` reads "
            "all there is; nothing was changed or printed",
            path=path,
            topic=topic,
            partition=partition,
            offset=offset,
            stands_at=stands_at,
        )


class RecordTooLargeError(DataError):
    """An input record is over max.message.bytes; the records before it are stored."""

    def __init__(self, *, size_bytes: int, max_bytes: int, place: str = "") -> None:
        super().__init__(
            f"{place or 'a record'} has {size_bytes} bytes or more, over max.message.bytes ({max_bytes})",
            fix="split the record, or produce to a topic made with a larger limit (-c max.message.bytes=N)",
            size_bytes=size_bytes,
            max_bytes=max_bytes,
            place=place,
        )

    def at(self, place: str) -> "RecordTooLargeError":
        """Return this error with the place of the record, which only the one who sends it knows."""
        return RecordTooLargeError(**{**self.facts, "place": place})  # type: ignore[arg-type]


class KeyRequiredError(DataError):
    """A record has no key, and its topic keeps only the last record of each key. Nothing of its append is stored."""

    def __init__(self, *, topic: str, place: str = "") -> None:
        super().__init__(
            f"{place or 'a record'} has no key, and topic {topic} wants one",
            why="its cleanup.policy has compact: of each key it keeps the last record",
            fix="give each record a key, as -k and -K do (an empty one is a key), or produce to another topic; "
            + (
                "what stands before it is stored, and nothing from it on"
                if place
                else "nothing of this append is stored"
            ),
            topic=topic,
            place=place,
        )

    def at(self, place: str) -> "KeyRequiredError":
        """Return this error with the place of the record, which only the one who sends it knows."""
        return KeyRequiredError(topic=str(self.facts["topic"]), place=place)


class InputGapError(DataError):
    """The place where a followed input was read last, or a file behind it, cannot be found: records may be missing."""

    def __init__(self, what: str, *, path: str, why: str) -> None:
        super().__init__(
            what,
            why=why,
            fix="put the file back beside the others, uncompressed and under the name that its rotation gives it, and run the "
            "command again; or go on without it: --accept-gap; nothing that comes behind it was stored",
            path=path,
        )


class BadInputError(DataError):
    """A line or record of the input is not what its format says; those before it are stored.

    can_skip: those behind it can be told from it.
    """

    def __init__(self, *, place: str, reason: str, can_skip: bool = True) -> None:
        super().__init__(
            f"{place} is no record",
            why=reason,
            fix="what stands before it is stored, and nothing from it on; correct it and produce the rest"
            + (", or leave it out with --skip-bad" if can_skip else "; where the next one begins cannot be told"),
            place=place,
            reason=reason,
        )


class _OfPartition:
    """What is said of one partition, which was not changed, in the words of whoever raises it."""

    def __init__(self, what: str, *, topic: str, partition: int, why: str, fix: str) -> None:
        what, fix = f"partition {partition} of {topic} {what}", f"{fix}; nothing was changed there"
        super().__init__(what, why=why, fix=fix, topic=topic, partition=partition)  # type: ignore[call-arg]


class DivergedLogError(_OfPartition, DataError): ...


class BadCopyError(_OfPartition, DataError):
    pass


class ReplicationGapError(_OfPartition, DataError):
    pass


class NotFoundError(MkError):
    exit_status = 66


class NoSuchDirectoryError(NotFoundError):
    def __init__(self, *, path: str, why: str = "") -> None:
        super().__init__(
            f"no log directory at {path}",
            why=why,
            fix="name one with -d or MK_DIR; `mk produce` and `mk topics create` make it",
            path=path,
        )


class NoSuchTopicError(NotFoundError):
    def __init__(self, *, topic: str, directory: str, why: str = "") -> None:
        super().__init__(
            f"no topic {topic} in {directory}",
            why=why,
            fix="`mk topics` lists the topics there are" + ("; nothing more was written" if why else ""),
            topic=topic,
            directory=directory,
        )


class NoSuchPartitionError(NotFoundError):
    def __init__(self, *, topic: str, partition: int, partitions: int, is_new: bool = False) -> None:
        """is_new: the topic is not there, and would be made with so many."""
        super().__init__(
            f"topic {topic} {'would have' if is_new else 'has'} no partition {partition}",
            why=f"it {'is not there, and would be made with' if is_new else 'has'} {partitions}, numbered from 0",
            fix="say with --partitions how many it shall have; no topic was made"
            if is_new
            else f"`mk topics describe {topic}` shows them",
            topic=topic,
            partition=partition,
            partitions=partitions,
        )


class OffsetOutOfRangeError(NotFoundError):
    def __init__(
        self, *, topic: str, partition: int, offset: int, log_start_offset: int, log_end_offset: int, fix: str = ""
    ) -> None:
        super().__init__(
            f"partition {partition} of {topic} has no offset {offset}",
            why=f"it holds offsets {log_start_offset} up to {log_end_offset}, the end excluded",
            fix=fix or "`-o start` reads all that is there, `-o end` only what comes",
            topic=topic,
            partition=partition,
            offset=offset,
            log_start_offset=log_start_offset,
            log_end_offset=log_end_offset,
        )


class UnreadableInputError(NotFoundError):
    """An input file cannot be opened; the ones before it are stored, the ones behind it were not read."""

    def __init__(self, *, path: str, why: str, fix: str = "") -> None:
        super().__init__(
            f"cannot read {path or 'a file without a name'}",
            why=why,
            fix=fix or "the files before it are stored; name this one as it is called, and those behind it, to go on",
            path=path,
        )


class NoSuchCommandError(NotFoundError):
    def __init__(self, *, command: str, why: str) -> None:
        super().__init__(
            f"there is no command {command}",
            why=why,
            fix="it is run as it stands, by no shell: for pipes and the like, --exec 'sh -c \"...\"'; nothing was consumed",
            command=command,
        )


class PeerUnreachableError(MkError):
    """No connection, or no more of one: of what was on its way, the other host may have stored a part."""

    exit_status = 69
    retriable = True


class CannotCreateError(MkError):
    exit_status = 73


class TopicExistsError(CannotCreateError):
    """renaming: it is to be the new name of a topic, for which the one that is there is no good."""

    def __init__(self, *, topic: str, existing: str, renaming: bool = False) -> None:
        super().__init__(
            f"topic {topic} exists already" + ("" if topic == existing else f", as {existing}"),
            why=""
            if topic == existing
            else "names that differ only in upper and lower case would clash on some file systems",
            fix=f"`mk topics describe {existing}` shows it"
            + ("; `--if-not-exists` accepts it" if topic == existing and not renaming else "; choose another name"),
            topic=topic,
            existing=existing,
        )


class StorageError(MkError):
    """The disk or the file system refused an operation."""

    exit_status = 74


class DiskFullError(StorageError):
    """A write found no room. It was taken back: nothing of this append is stored."""

    def __init__(self, *, path: str, why: str) -> None:
        super().__init__(
            f"no room to append to {path}",
            why=why,
            fix="make room, then produce the rest again; this append was taken back whole",
            path=path,
        )


class DiskReserveError(DiskFullError):
    """An append would have left less free space than min.free. Nothing of it was written."""

    def __init__(self, *, path: str, free_bytes: int, wanted_bytes: int, reserve_bytes: int) -> None:
        StorageError.__init__(
            self,
            f"no room to append to {path}",
            why=f"{free_bytes} bytes are free on its disk, the append takes {wanted_bytes}, "
            f"and {reserve_bytes} are kept free (min.free)",
            fix="`mk topics clean` removes what may go, `mk topics trim` what you name; then produce the rest again; "
            "nothing of this append is stored",
            path=path,
            free_bytes=free_bytes,
            wanted_bytes=wanted_bytes,
            reserve_bytes=reserve_bytes,
        )


class SyncFailedError(StorageError):
    """The disk did not confirm an append, which may or may not be stored.

    failed_path: the FAILED file, if the disk refused a new segment too.
    """

    def __init__(self, *, path: str, why: str, failed_path: str = "") -> None:
        from_here = f"writers stop, as {failed_path} says" if failed_path else "writing goes on in a new segment"
        super().__init__(
            f"the disk did not confirm an append to {path}",
            why=why,
            fix="look at the disk (dmesg); this append is indeterminate, all acknowledged before it is safe; "
            + from_here,
            path=path,
        )


class PartitionFailedError(StorageError):
    def __init__(self, *, topic: str, partition: int, path: str) -> None:
        super().__init__(
            f"partition {partition} of {topic} accepts no records",
            why=f"the disk refused a sync and a new segment too, and {path} says so",
            fix=f"look at the disk (dmesg), then `mk topics repair {topic}` tries it and removes that; reading goes on; nothing "
            "was written",
            topic=topic,
            partition=partition,
            path=path,
        )


class TryAgainError(MkError):
    exit_status = 75
    retriable = True


class LockTimeoutError(TryAgainError):
    def __init__(self, *, what: str, waited_ms: int, holder: str, fix: str = "") -> None:
        super().__init__(
            f"{what} stayed locked for {waited_ms / 1000:g} s",
            why=holder,
            fix=fix or "wait, raise --lock-wait, or stop that process; nothing was written by this append",
            waited_ms=waited_ms,
            holder=holder,
        )


class CursorInUseError(TryAgainError):
    """A cursor file that is not ours, or no more: two readers would each undo what the other noted."""

    def __init__(self, *, path: str, holder: str) -> None:
        super().__init__(
            f"cursor file {path} is in use",
            why=holder,
            fix="wait until it is done, or name another file, for positions of its own; no position was changed",
            path=path,
            holder=holder,
        )


class NotLeaderError(TryAgainError):
    def __init__(self, *, topic: str, partition: int, leader: str, address: str = "") -> None:
        facts = {"topic": topic, "leader": leader, "address": address}
        super().__init__(
            f"this directory does not lead partition {partition} of {topic}",
            why=f"it is a copy of {address}, which does" if address else f"directory {leader} does",
            fix=f"produce to {address or 'that one'}, or `mk replicate promote` makes this one lead; nothing was written",
            partition=partition,
            **facts,
        )


class StaleSourceError(_OfPartition, TryAgainError):
    pass


class FarSideError(MkError):
    """The other end of a channel does not keep to the protocol, by noise, by damage, or on purpose."""

    exit_status = 76


class ProtocolVersionError(FarSideError):
    """lowest, highest: the versions that `peer` understands."""

    def __init__(self, *, peer: str, lowest: int, highest: int, known: tuple[int, int], version: str) -> None:
        is_older = highest < known[0]
        super().__init__(
            f"{peer} has an mk that is too {'old' if is_older else 'new'}",
            why=f"mk {version[:40]} there speaks protocol {lowest} to {highest}, this one {known[0]} to {known[1]}",
            fix=f"install a newer mk {'there' if is_older else 'here'}; nothing was changed",
            peer=peer,
            lowest=lowest,
            highest=highest,
        )


class PermissionDeniedError(MkError):
    exit_status = 77


class TopicSealedError(PermissionDeniedError):
    def __init__(self, *, topic: str, since: str, by: str) -> None:
        super().__init__(
            f"topic {topic} is sealed",
            why=f"{by or 'somebody'} closed it to new records at {since}",
            fix=f"whoever may write to the directory can open it again with `mk topics seal {topic} --undo`; "
            "nothing more was written",
            topic=topic,
            since=since,
            by=by,
        )


class ConfigurationError(MkError):
    exit_status = 78


class UnsupportedFormatError(ConfigurationError):
    def __init__(self, *, path: str, found: int, known: int) -> None:
        super().__init__(
            f"{path} has format version {found}; this mk knows up to {known}",
            fix="install a newer mk; nothing was changed",
            path=path,
            found=found,
            known=known,
        )


class UnsupportedBatchError(ConfigurationError):
    """A batch whose checksum is right, with a codec, kind or bit that this mk does not know: no damage, nothing to cut.

    readable_from: the offset behind it, from which reading can go on.
    """

    def __init__(self, *, path: str, position: int, offset: int, attributes: int, readable_from: int) -> None:
        super().__init__(
            f"{path} holds a batch of a newer mk at byte {position}, offset {offset}",
            why=f"its attributes are {attributes:#06x}, not all of which this mk knows",
            fix=f"install a newer mk, or read on behind it with `-o {readable_from}`; nothing was changed or written",
            path=path,
            position=position,
            offset=offset,
            attributes=attributes,
            readable_from=readable_from,
        )


class NetworkFileSystemError(ConfigurationError):
    def __init__(self, *, path: str, file_system: str) -> None:
        super().__init__(
            f"{path} is on {file_system}, where file locks may not reach every writer",
            why="two hosts that both think they hold the lock would overwrite each other's records",
            fix="use a local disk, or pass --allow-network-fs if you know that the locks hold; nothing was written",
            path=path,
            file_system=file_system,
        )


class TimedOutError(MkError):
    """What was asked for was not done within --timeout."""

    exit_status = 124
    retriable = True

    def __init__(self, *, timeout_ms: int, records: int, done: str = "printed") -> None:
        super().__init__(
            f"not done after {timeout_ms / 1000:g} s",
            why=f"{records} {'record was' if records == 1 else 'records were'} {done} by then, and more are asked for",
            fix=f"what was {done} is whole records; raise --timeout, or say --max-time if that is no failure",
            timeout_ms=timeout_ms,
            records=records,
        )


class NotMetError(TimedOutError):
    """What a command waits for had not come by then. state: how things stood, of each thing that was not met."""

    def __init__(self, *, timeout_ms: int, state: "list[str]") -> None:
        MkError.__init__(
            self,
            f"not so after {timeout_ms / 1000:g} s" if timeout_ms else "not so now",
            why="; ".join(state),
            fix="raise --timeout, or leave it out to wait as long as it takes; nothing was changed",
            timeout_ms=timeout_ms,
            state=state,
        )


if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Return an error of groups, which a plain command does not load."""
        from mk import group_errors

        if not name.endswith("Error") or name not in vars(group_errors):
            raise AttributeError(f"module 'mk.errors' has no attribute {name!r}")
        return getattr(group_errors, name)
