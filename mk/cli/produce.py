"""`mk produce`: values or input in, acknowledged records out."""

from mk.cli import signals
from mk.cli.notes import counted, note
from mk.cluster import connect
from mk.errors import KeyRequiredError, MkError, NoSuchTopicError, RecordTooLargeError, UsageError
from mk.topic_partition import check_name_at, check_partition_count, check_producer_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mk.cli.options import Options
    from mk.cli.produce_input import ProduceInput
    from mk.cluster import Cluster
    from mk.producer.producer import Producer
    from mk.producer.topic_producers import TopicProducers
    from mk.storage.partition_log import AppendResult


def run(options: "Options") -> int:
    """Store every value, or every record of the input, and return 0 when all of them are, 1 when some were skipped."""
    # Before a directory is made for it.
    _check(options)
    has_topic = options.topic is not None
    if not has_topic:
        options = _with(options, topic="default")
    check_name_at(options.directory, options.topic)
    form = None
    if options.format == "raw":
        options = _with(options, whole=True)  # What `mk consume -f raw` prints has no ends within.
        _check(options)
    elif options.format != "value":
        from mk.cli.produce_records import InputFormat

        form = InputFormat(options)
    if options.keep_partition and options.format not in ("json", "framed"):
        raise UsageError(
            "--keep-partition means nothing without -J or -f framed",
            why="other formats have %p for it",
            fix="leave it out, or add -J",
        )
    if options.partitions is not None:
        check_partition_count(options.partitions)
    if options.producer_id is not None:
        check_producer_id(options.producer_id)
    if options.replication_factor is not None and not (options.directory or "").startswith("kafka://"):
        from mk.config import check_no_replication

        check_no_replication(options.replication_factor)  # Also where the topic is there already.
    cluster = connect(options.directory, create=not options.no_create, allow_network_fs=options.allow_network_fs)
    has_many = not has_topic and form is not None and form.has_topic
    producer = _open_producers(cluster, options) if has_many else _open_producer(cluster, options)
    if options.timestamp_ms is not None and not options.quiet and not has_many:
        _note_retention(cluster, options.topic, options.timestamp_ms, "records of that time are")
    stopped_by: list[int] = []
    skipped = 0
    try:
        if options.values:
            skipped = _send_values(producer, options)  # type: ignore[arg-type]
        else:
            # Here, since values do not need it.
            if options.follow is not None:
                source = _follow(producer, options)  # type: ignore[arg-type]
            elif form is None:
                from mk.cli.produce_input import ProduceInput

                source = ProduceInput(producer, options)  # type: ignore[arg-type]
            else:
                from mk.cli.produce_records import RecordInput

                source = RecordInput(producer, options, form)
            # A signal ends the input where it stands: the whole records read by then are stored, the rest is not.
            stopped_by = signals.call_on_stop_signals(source.stop)
            try:
                source.send()
            finally:
                skipped = source.records_skipped
        producer.close()
        if form is not None and not options.quiet:
            for topic, oldest_ms in source.oldest_ms.items():  # type: ignore[attr-defined]
                _note_retention(cluster, topic, oldest_ms, "some of these records are")
        cluster.close()
    except (MkError, OSError) as error:
        if isinstance(error, MkError):
            error.facts["records_stored"] = producer.records_stored
        note(_summary(producer, skipped))
        _note_stored_before(producer, options)
        raise
    if skipped:
        note(_summary(producer, skipped))
    _note_stored_before(producer, options)
    if stopped_by:
        signals.raise_stopped(stopped_by[0])
    return 1 if skipped else 0


def _follow(producer: "Producer", options: "Options") -> "ProduceInput":
    from mk.cli.produce_follow import FollowInput

    return FollowInput(producer, options)


def _with(options: "Options", **changes: object) -> "Options":
    """Return the options with some of them changed."""
    from mk.cli.options import Options

    values = {name: value for name, value in vars(options).items() if name != "command"}
    return Options(options.command, {**values, **changes})


def _summary(producer: "Producer | TopicProducers", skipped: int) -> str:
    return f"mk: {counted(producer.records_stored, 'record')} stored" + (f", {skipped} skipped" if skipped else "")


def _check(options: "Options") -> None:
    """Refuse what contradicts itself, with the two options that do."""
    if options.acks == "all" and not (options.directory or "").startswith("kafka://"):
        raise UsageError(
            "--acks (or MK_ACKS) cannot be all for a log directory",
            why="it has no replicas that could have a record too; 1 is on disk",
            fix="leave it out, or name a Kafka cluster with -d",
        )
    if options.follow is not None:
        _check_follow(options)
    elif options.accept_gap:
        raise UsageError("--accept-gap goes with --follow", fix="leave it out: only files that are followed have gaps")
    if options.values:
        for name in ("files", "delimiter", "null", "whole", "count", "tee"):
            if getattr(options, name) not in ((), None) and getattr(options, name) is not False:
                _refuse(options, "VALUE", name, "values are the records, and no input is read")
    if options.partition is not None and options.keep_partition:
        _refuse(options, "-p", "keep_partition", "each says where a record goes")
    for one, other in (("delimiter", "null"), ("delimiter", "whole"), ("null", "whole")):
        if getattr(options, one) and getattr(options, other):
            _refuse(options, _flag(options, one), other, "each says where a record ends")
    if options.files.count("-") > 1:
        raise UsageError("--file - is there twice", why="standard input can be read once", fix="leave one of them out")
    ends_record = b"\0" if options.null else options.delimiter or b"\n"
    if options.key_delimiter and not options.whole and not options.values and ends_record in options.key_delimiter:
        raise UsageError(
            "no record holds what -K looks for",
            why="the end of a record is part of it",
            fix="choose another -K, or another end of a record with -D or -0",
        )


def _check_follow(options: "Options") -> None:
    if options.values:
        _refuse(options, "VALUE", "follow", "values are the records, and no input is read")
    if options.format != "value":
        _refuse(options, "-f (or -J)", "follow", "what is followed is lines, each a record")
    for name, why in (
        ("files", "one file is followed, and no other input is read"),
        ("whole", "a file that grows is never whole"),
    ):
        if getattr(options, name):
            _refuse(options, _flag(options, name), "follow", why)
    if options.producer_id is not None and options.acks == 0:
        raise UsageError(
            "--acks 0 and --follow with --producer-id exclude each other",
            why="how far the files were read is written down, and a power cut could take records before that place",
            fix="leave out --acks 0",
        )


def _refuse(options: "Options", one: str, other: str, why: str) -> None:
    raise UsageError(f"{one} and {_flag(options, other)} exclude each other", why=why, fix="leave one of them out")


def _flag(options: "Options", name: str) -> str:
    return next(parameter.flags[0] for parameter in options.command.parameters if parameter.name == name)


def _open_producer(cluster: "Cluster", options: "Options") -> "Producer":
    on_append = None
    if options.verbose:

        def on_append(result: "AppendResult") -> None:
            note(f"{options.topic} {result.partition} {result.first_offset} {result.last_offset}")

    def open_producer() -> "Producer":
        return cluster.producer(
            options.topic,
            acks=options.acks,
            partition=options.partition,
            compression=options.compression,
            producer_id=options.producer_id,
            lock_wait_ms=options.lock_wait_ms,
            on_append=on_append,
        )

    try:
        producer = open_producer()
    except NoSuchTopicError:
        if options.no_create:
            raise
        _create_topic(cluster, options)
        producer = open_producer()
    producer.needs_results = False
    if options.verbose and not getattr(producer, "tells_appends", True):  # Only that of a Kafka may not.
        note(f"mk: where records land in {options.topic} is not shown: with acks 0 no broker tells it")
    if options.producer_id is not None and options.follow is None:
        try:
            producer.check_input_is_not_followed()
        except MkError:
            producer.close()
            raise
    return producer


def _open_producers(cluster: "Cluster", options: "Options") -> "TopicProducers":
    """Return what opens a producer to each topic that the input names."""
    from mk.producer.topic_producers import TopicProducers

    return TopicProducers(lambda topic: _open_producer(cluster, _with(options, topic=topic)))


def _note_retention(cluster: "Cluster", topic: str, timestamp_ms: int, which: str) -> None:
    """Warn that records which are produced old will not stay: retention goes by the times that they have."""
    from mk.clock import now_ms

    config = cluster.topic_config(topic)
    retention_ms = int(config["retention.ms"]) if "delete" in str(config.get("cleanup.policy", "delete")) else -1
    if 0 <= retention_ms < now_ms() - timestamp_ms:
        note(
            f"mk: {which} older than {topic} keeps any (retention.ms={retention_ms}): they go "
            f"with the segment they are in; `mk topics alter {topic} -c retention.ms=-1` keeps them"
        )


def _note_stored_before(producer: "Producer | TopicProducers", options: "Options") -> None:
    """Say what was left out: who sends another input under the same producer id loses just that.

    Files that are followed are known not to be another input.
    """
    count = producer.records_stored_before
    if count and not options.quiet and options.follow is None:
        were = "was" if count == 1 else "were"
        note(
            f"mk: {counted(count, 'record')} {were} stored before under producer id {options.producer_id}; {producer.records_stored} stored now"
        )


def _create_topic(cluster: "Cluster", options: "Options") -> None:
    from mk.errors import NoSuchPartitionError, TopicExistsError

    partitions = options.partitions or 1
    if options.partition is not None and options.partition >= partitions:
        raise NoSuchPartitionError(topic=options.topic, partition=options.partition, partitions=partitions, is_new=True)
    try:
        cluster.create_topic(
            options.topic,
            partitions=partitions,
            replication_factor=options.replication_factor,
            wait_ms=options.lock_wait_ms,
        )
    except TopicExistsError as error:
        if error.facts["existing"] != options.topic:
            raise
        return  # Another process was faster; its topic is as good.
    if not options.quiet:
        note(f"mk: created topic {options.topic} ({counted(partitions, 'partition')}) in {cluster.location}")


def _send_values(producer: "Producer", options: "Options") -> int:
    """Store the values of the command line, and return how many were skipped."""
    skipped = 0
    for number, value in enumerate(options.values, 1):
        key = options.key
        if options.key_delimiter is not None:
            before, found, after = value.partition(options.key_delimiter)
            if found:
                key, value = before, after
        try:
            producer.send(value or None if options.null_value else value, key, options.headers, options.timestamp_ms)
        except (RecordTooLargeError, KeyRequiredError) as error:
            error = error.at(f"value {number}")
            if not options.skip_bad:
                producer.flush()
                raise error from None
            skipped += 1
            producer.skip_sequences(1)
            note(f"mk: skipped: {error.what}")
    producer.flush()
    return skipped
