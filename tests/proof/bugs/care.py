"""Bugs in what removes records: retention, trimming, compaction; and in input that is sent again."""

from __future__ import annotations

from tests.proof.bugs.bug import Bug

_REMOVAL = "mk/storage/segment_removal.py"
_CLEANING = "mk/storage/partition_cleaner.py"
_COMPACTION = "mk/storage/log_cleaner.py"
_PRODUCERS = "mk/storage/producer_state.py"
_LOG = "mk/storage/partition_log.py"

_REMOVE = ("tests/unit/storage/test_partition_cleaner.py", "tests/crash/test_removal.py")
_COMPACT = (
    "tests/property/test_compaction.py",
    "tests/property/test_compacted_histories.py",
    "tests/multiprocess/test_compaction.py",
    "tests/cli/test_compact.py",
)
_RESUME = (
    "tests/unit/storage/test_producer_state.py",
    "tests/property/test_producer_state.py",
    "tests/crash/test_resumed_input.py",
)

BUGS: tuple[Bug, ...] = (
    Bug(
        "log-start-not-synced",
        "1 D-14",
        _REMOVAL,
        """\
    write_state(partition.state_fd, new)
    files.fdatasync(partition.state_fd)
    return new
""",
        """\
    write_state(partition.state_fd, new)
    return new
""",
        (
            "tests/crash/test_removal.py::test_killed_at_any_operation_nothing_above_the_log_start_is_lost[sample-roll_that_removes]",
        ),
    ),
    Bug(
        "unlinked-before-the-log-start-is-moved",
        "1 D-14",
        _REMOVAL,
        """\
        state = retain(partition, state, began_ms)
        remove_dead_segments(partition, state, state.log_start_offset)
""",
        """\
        going = [verdict for verdict in verdicts(partition, state, record_clock=True) if verdict.goes]
        if going and going[-1].segment.base_offset < state.segment:
            remove_dead_segments(partition, state, going[-1].segment.next_offset)
        state = retain(partition, state, began_ms)
""",
        (
            "tests/crash/test_removal.py::test_killed_at_any_operation_nothing_above_the_log_start_is_lost[sample-roll_that_removes]",
        ),
    ),
    Bug(
        "segment-of-the-log-start-removed",
        "1 D-14",
        _REMOVAL,
        '    first = segment_name(bases[at - 1], "") if at else ""\n',
        '    first = segment_name(log_start_offset, "")\n',
        ("tests/unit/storage/test_partition_cleaner.py::test_the_log_begins_exactly_where_it_was_trimmed_to[1]",),
    ),
    Bug(
        "trim-beyond-what-is-on-disk",
        "1 D-14",
        _CLEANING,
        """\
            elif before_offset > state.durable.offset:
                # Or a power cut leaves a log that ends in front of its start, and what is appended there nobody reads.
                state = self._make_durable(state)
""",
        "",
        ("tests/crash/test_removal.py::test_a_trim_never_begins_the_log_behind_what_a_power_cut_leaves_of_it",),
    ),
    Bug(
        "trim-beyond-the-high-watermark",
        "1 D-14",
        _CLEANING,
        "            if before_offset > state.high_watermark:\n",
        "            if before_offset > state.high_watermark + 1000:\n",
        ("tests/unit/storage/test_partition_cleaner.py::test_trimming_beyond_the_end_is_refused",),
    ),
    Bug(
        "follower-trims",
        "3 D-18",
        _CLEANING,
        "                state = self._refresh()\n            self._check_leads()\n",
        "                state = self._refresh()\n",
        ("tests/unit/storage/test_partition_cleaner.py::test_only_the_leader_trims[1]",),
    ),
    Bug(
        "leapt-clock-believed",
        "3 D-20",
        _REMOVAL,
        "        is_believed = look(topic.directory, last_seen_ms).is_believed\n",
        "        is_believed = bool(look(topic.directory, last_seen_ms))\n",
        (
            "tests/unit/storage/test_partition_cleaner.py::test_a_clock_that_leaps_removes_nothing_neither_at_a_roll_nor_by_clean[315360000000]",
        ),
    ),
    Bug(
        "index-vouches-for-the-age-of-a-segment",
        "3 D-13",
        _REMOVAL,
        "        if entry is not None and base + entry[0] == end_offset and abs(last_write_ms - entry[2]) <= WITNESS_MS:\n",
        "        if entry is not None and base + entry[0] == end_offset:\n",
        (
            "tests/unit/storage/test_partition_cleaner.py::test_an_index_that_says_something_else_than_the_batches_removes_nothing",
        ),
    ),
    Bug(
        "times-to-come-pin-a-segment",
        "6 D-20",
        _REMOVAL,
        "        if needs_time and (time_ms < 0 or time_ms > now_ms + FUTURE_MS):\n",
        "        if needs_time and time_ms < 0:\n",
        (
            "tests/unit/storage/test_partition_cleaner.py::test_records_of_a_year_to_come_do_not_pin_what_is_behind_them",
        ),
    ),
    Bug(
        "retention-goes-on-behind-a-segment-that-stays",
        "1 D-14",
        "mk/storage/retention.py",
        "        kept = kept or not reason\n",
        "",
        ("tests/property/test_retention.py::test_an_old_segment_behind_a_young_one_stays",),
    ),
    Bug(
        "retention-beyond-the-high-watermark",
        "3 D-14",
        "mk/storage/retention.py",
        "        elif segment.next_offset > keep_from:\n",
        "        elif segment.base_offset > keep_from:\n",
        ("tests/property/test_retention.py::test_a_segment_stays_that_may_be_read_in_part_only",),
    ),
    Bug(
        "groups-hold-one-record-less-than-they-have-not-read",
        "2 D-14",
        "mk/storage/retention.py",
        "        elif age_ms > retention_ms and hold is not None and segment.next_offset > hold.offset:\n",
        "        elif age_ms > retention_ms and hold is not None and segment.base_offset > hold.offset:\n",
        ("tests/property/test_retention.py::test_a_segment_stays_that_a_group_has_read_in_part_only",),
    ),
    Bug(
        "claims-read-before-the-records-they-hold-go",
        "2 D-16",
        "mk/storage/retention.py",
        "        end = end_of_epoch(self.leader_epoch) if self.leader_epoch >= 0 else None\n",
        "        end = None\n",
        ("tests/property/test_retention.py::test_groups_hold_what_the_slowest_of_them_has_not_read_of_this_log",),
    ),
    # Compaction.
    Bug(
        "compaction-drops-the-last-value",
        "3 D-14",
        "mk/records/compaction.py",
        "for at, (last, offset) in enumerate(zip(self._map.latest(keys), offsets, strict=True)) if last <= offset\n",
        "for at, (last, offset) in enumerate(zip(self._map.latest(keys), offsets, strict=True)) if last < offset\n",
        (
            "tests/property/test_compaction.py::test_the_last_record_of_each_key_stays_as_it_was_and_nothing_else_changes",
        ),
    ),
    Bug(
        "compaction-drops-tombstones-at-once",
        "3 D-14",
        _COMPACTION,
        "    horizon = checkpoint.cleaned_before(_retained_since(partition))\n",
        "    horizon = checkpoint.cleaned_before(1 << 62)\n",
        ("tests/unit/storage/test_tombstones.py::test_a_tombstone_goes_when_it_has_stood_long_enough",),
    ),
    Bug(
        "compaction-drops-tombstones-that-a-group-has-not-read",
        "2 D-14",
        _COMPACTION,
        "    return horizon if hold is None else min(horizon, hold.offset)\n",
        "    return horizon\n",
        (
            "tests/unit/storage/test_tombstones.py::test_a_tombstone_stays_until_the_groups_that_hold_records_have_read_it",
        ),
    ),
    Bug(
        "compaction-by-a-leapt-clock",
        "3 D-20",
        _COMPACTION,
        "    if not _clock_is_believed(partition, state):\n        return 0\n",
        "",
        ("tests/unit/storage/test_tombstones.py::test_a_tombstone_stays_while_the_clock_is_not_believed[31536000000]",),
    ),
    Bug(
        "compaction-does-not-note-what-the-clock-says",
        "3 D-20",
        _COMPACTION,
        "            clock_record.look_and_record(",
        "            clock_record.look(",
        ("tests/unit/storage/test_tombstones.py::test_a_tombstone_stays_while_the_clock_is_not_believed[31536000000]",),
    ),
    Bug(
        "compaction-unlinks-before-it-renames",
        "1 D-14",
        _COMPACTION,
        """\
            name = segment_name(first)
            files.rename(name + CLEANED_SUFFIX, name, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
            files.fsync(dir_fd)
            index""",
        """\
            for segment in group[1:]:
                _unlink_if_there(segment_name(segment.base_offset), dir_fd)
            name = segment_name(first)
            files.rename(name + CLEANED_SUFFIX, name, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
            files.fsync(dir_fd)
            index""",
        ("tests/crash/test_compaction.py::test_broken_off_at_any_operation_the_last_record_of_each_key_stays[sample]",),
    ),
    Bug(
        "rename-of-a-compaction-not-synced",
        "1 D-14",
        _COMPACTION,
        """\
            files.rename(name + CLEANED_SUFFIX, name, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
            files.fsync(dir_fd)
            index""",
        """\
            files.rename(name + CLEANED_SUFFIX, name, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
            index""",
        ("tests/crash/test_compaction.py::test_each_step_of_a_swap_is_on_disk_before_the_next",),
    ),
    Bug(
        "compacted-segment-not-synced",
        "1 D-14",
        _COMPACTION,
        "        files.set_last_write(self._fd, last_write_ns)\n        files.fdatasync(self._fd)\n",
        "        files.set_last_write(self._fd, last_write_ns)\n",
        (
            "tests/property/test_compacted_histories.py::test_no_last_value_is_lost_and_no_deleted_key_comes_back[sample]",
        ),
    ),
    Bug(
        "state-of-a-compaction-not-synced",
        "1 D-19",
        _COMPACTION,
        """\
            write_state(self._files.state_fd, state)
            files.fdatasync(self._files.state_fd)
            # The index""",
        """\
            write_state(self._files.state_fd, state)
            # The index""",
        ("tests/crash/test_compaction.py::test_each_step_of_a_swap_is_on_disk_before_the_next",),
    ),
    Bug(
        "unlinks-of-a-compaction-not-synced-in-order",
        "1 D-14",
        _COMPACTION,
        """\
                    _unlink_if_there(segment_name(segment.base_offset, suffix), dir_fd)
                files.fsync(dir_fd)
""",
        """\
                    _unlink_if_there(segment_name(segment.base_offset, suffix), dir_fd)
""",
        ("tests/crash/test_compaction.py::test_each_step_of_a_swap_is_on_disk_before_the_next",),
    ),
    Bug(
        "compaction-does-not-see-that-segments-changed",
        "1 D-14",
        _COMPACTION,
        "                if not _is_at(segment_name(segment.base_offset), fd, dir_fd):\n",
        "                if False:\n",
        ("tests/crash/test_compaction.py::test_what_changed_while_it_was_compacted_is_left_alone",),
    ),
    Bug(
        "compaction-does-not-see-that-the-log-was-cut",
        "1 D-14",
        _COMPACTION,
        "        if state.cuts != before.cuts or state.topic_id != before.topic_id or state.segment < before.segment:\n",
        "        if state.topic_id != before.topic_id or state.segment < before.segment:\n",
        ("tests/crash/test_compaction.py::test_what_changed_while_it_was_compacted_is_left_alone",),
    ),
    Bug(
        "compaction-copies-damage",
        "5 D-3",
        _COMPACTION,
        "            if not batch.check_payload(whole[HEADER_SIZE:]):\n",
        "            batch.check_payload(whole[HEADER_SIZE:])\n            if batch.payload is ...:\n",
        ("tests/cli/test_compact.py::test_clean_says_what_kept_it_from_compacting_and_has_removed_what_goes",),
    ),
    Bug(
        "two-compact-at-once",
        "1 D-14",
        _COMPACTION,
        "            if not try_acquire(lock_fd):\n                report",
        "            if not lock_fd:\n                report",
        ("tests/multiprocess/test_compaction.py::test_one_at_a_time_and_the_other_says_so",),
    ),
    Bug(
        "compaction-forgets-what-producers-stored",
        "1 D-11",
        _COMPACTION,
        "            ensure_snapshot(self._files, end)\n",
        "",
        (
            "tests/unit/storage/test_producer_state.py::test_what_was_stored_is_known_when_the_batches_that_said_so_were_compacted",
        ),
    ),
    Bug(
        "compacted-batches-across-leader-epochs",
        "3 D-19",
        "mk/records/compaction.py",
        "            batch.leader_epoch == self._epoch\n            and batch.attr",
        "            batch.attr",
        ("tests/property/test_compaction.py::test_batches_tile_the_offsets_within_an_epoch_and_end_at_boundaries",),
    ),
    Bug(
        "young-records-compacted",
        "3 D-14",
        _COMPACTION,
        "                if time_ms > now_ms - lag_ms:\n                    return segments[:at]\n",
        "                if time_ms > now_ms:\n                    return segments[:at]\n",
        ("tests/unit/storage/test_tombstones.py::test_records_younger_than_the_lag_are_left_alone",),
    ),
    Bug(
        "compaction-drops-the-newest-tombstone-of-a-key-that-was-not-cleaned",
        "3 D-14",
        "mk/records/compaction.py",
        "                if offsets[at] < self._horizon:\n",
        "                if offsets[at] <= self._horizon:\n",
        (
            "tests/property/test_compaction.py::test_the_last_record_of_each_key_stays_as_it_was_and_nothing_else_changes",
        ),
    ),
    Bug(
        "compaction-drops-records-without-a-key",
        "3 D-14",
        "mk/records/compaction.py",
        "        offsets.pop(None, None)\n",
        "",
        (
            "tests/property/test_compaction.py::test_the_last_record_of_each_key_stays_as_it_was_and_nothing_else_changes",
        ),
    ),
    Bug(
        "covering-batch-forgets-the-chain",
        "3 D-19",
        "mk/records/compaction.py",
        "        self._chain, self._codec = batch.chain, batch.attributes & CODEC_MASK\n",
        "        self._codec = batch.attributes & CODEC_MASK\n",
        ("tests/property/test_compaction.py::test_batches_tile_the_offsets_within_an_epoch_and_end_at_boundaries",),
    ),
    Bug(
        "batches-merged-over-a-segment's-end",
        "1 D-14",
        "mk/records/compaction.py",
        "        if pending.size_bytes >= TARGET_BYTES or pending.next_offset in self._boundaries:\n",
        "        if pending.size_bytes >= TARGET_BYTES:\n",
        ("tests/property/test_compaction.py::test_where_every_batch_has_to_end_none_is_merged_with_another",),
    ),
    Bug(
        "pin-written-over",
        "1 D-11",
        "mk/storage/producer_pin.py",
        """\
            files.link(temporary, file_name, src_dir_fd=fd, dst_dir_fd=fd)
        except FileExistsError:
            pass  # Made once: the first one counts.
        files.unlink(temporary, dir_fd=fd)
""",
        """\
            files.rename(temporary, file_name, src_dir_fd=fd, dst_dir_fd=fd)
        except FileExistsError:
            pass  # Made once: the first one counts.
""",
        ("tests/unit/storage/test_producer_pin.py::test_a_pin_that_somebody_made_since_we_looked_is_not_written_over",),
    ),
    Bug(
        "name-of-a-pin-not-synced",
        "1 D-11",
        "mk/storage/producer_pin.py",
        "        files.fsync(fd)\n        files.fsync(topic.fd)\n",
        "",
        ("tests/unit/storage/test_producer_pin.py::test_a_pin_is_on_disk_before_it_is_used",),
    ),
    # Input that is sent again.
    Bug(
        "sequences-not-compared",
        "1 D-11",
        _LOG,
        "            rest = without_stored(batch, last)\n",
        "            rest = batch\n",
        ("tests/unit/storage/test_producer_state.py::test_what_is_stored_is_left_out_and_counted",),
    ),
    Bug(
        "stored-without-a-sync-counts-as-stored",
        "1 D-11",
        _LOG,
        "                    if not batches and durability == DISK and state.durable.offset < first_offset:\n",
        "                    if False:\n",
        ("tests/unit/storage/test_producer_state.py::test_what_was_stored_without_a_sync_is_synced_before_it_counts",),
    ),
    Bug(
        "producer-goes-on-behind-what-was-lost",
        "1 D-11",
        _LOG,
        "        if last < self._told_sequences.get(producer_id, last):\n",
        "        if last < -1:\n",
        (
            "tests/unit/storage/test_producer_state.py::test_a_producer_whose_records_were_lost_is_stopped_before_it_leaves_a_gap",
        ),
    ),
    Bug(
        "sequences-told-that-are-not-on-disk",
        "1 D-11",
        _LOG,
        "            self._producers = producer_state.load(self._files, state.segment, state.durable)\n",
        "            self._producers = producer_state.load(self._files, state.segment, state.written)\n",
        ("tests/unit/storage/test_producer_state.py::test_what_was_stored_without_a_sync_is_synced_before_it_counts",),
    ),
    Bug(
        "sequences-remembered-though-others-appended",
        "1 D-11",
        _PRODUCERS,
        "            if not known.is_at(state.segment, state.written):\n",
        "            if known.segment != state.segment:\n",
        ("tests/unit/storage/test_producer_state.py::test_another_process_finds_it_in_the_log",),
    ),
    Bug(
        "sequences-remembered-over-a-cut",
        "1 D-11",
        _PRODUCERS,
        "    if known is not None and known.leader_epoch == state.leader_epoch:\n",
        "    if known is not None:\n",
        (
            "tests/unit/storage/test_producer_state.py::test_a_producer_whose_records_were_lost_is_stopped_before_it_leaves_a_gap",
        ),
    ),
    Bug(
        "snapshot-of-another-log-believed",
        "1 D-11",
        _PRODUCERS,
        "            and bool(batch.attributes & COMPACTED or batch.chain == batch.chain_after(max(self.chain, 0)))\n",
        "",
        (
            "tests/unit/storage/test_producer_state.py::test_ensure_snapshot_replaces_one_that_is_of_another_log_and_keeps_a_good_one",
        ),
    ),
    Bug(
        "damaged-snapshot-believed",
        "5 D-11",
        _PRODUCERS,
        '    if crc != b"%08x\\n" % crc32c(text):\n        return None\n    try:\n        head',
        "    try:\n        head",
        ("tests/unit/storage/test_producer_state.py::test_a_damaged_snapshot_is_none",),
    ),
    Bug(
        "no-snapshot-at-a-roll",
        "1 D-11",
        "mk/storage/log_recovery.py",
        "        producer_state.begin_segment(partition, state.segment, end, producers)\n",
        "        pass\n",
        ("tests/unit/storage/test_producer_state.py::test_plain_records_and_other_producers_stand_in_between",),
    ),
    Bug(
        "missing-snapshot-taken-for-nothing-stored",
        "1 D-11",
        _PRODUCERS,
        "    if not bases or bases[0] != 0:\n",
        "    if not bases:\n",
        ("tests/unit/storage/test_producer_state.py::test_what_cannot_be_told_is_never_guessed",),
    ),
    Bug(
        "retention-forgets-what-producers-stored",
        "1 D-11",
        _REMOVAL,
        "        if bases:\n            ensure_snapshot(partition, bases[-1])\n",
        "",
        (
            "tests/unit/storage/test_producer_state.py::test_what_was_stored_is_known_when_the_segments_that_said_so_were_removed",
        ),
    ),
    Bug(
        "snapshot-of-what-is-not-on-disk",
        "1 D-11",
        _LOG,
        "        if producers.snapshot_due() and producers.segment == state.segment and producers.offset <= state.durable.offset:\n",
        "        if producers.snapshot_due():\n",
        ("tests/unit/storage/test_producer_state.py::test_one_is_due_after_so_many_batches",),
    ),
    Bug(
        "pins-not-compared",
        "1 D-11",
        "mk/storage/producer_pin.py",
        """\
        ("partition", _with_partition(pin.partition), _with_partition(partition)),
        ("partitioner", f"with {pin.partitioner}", f"with {topic.partitioner}"),
""",
        """\
        ("partition", _with_partition(pin.partition), _with_partition(partition)),
""",
        ("tests/unit/storage/test_producer_pin.py::test_another_partitioner_is_refused",),
    ),
)
