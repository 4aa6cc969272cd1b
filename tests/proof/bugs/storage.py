"""Bugs in how bytes get into a log, and in what happens after a crash."""

from __future__ import annotations

from tests.proof.bugs.bug import Bug

_LOG = "mk/storage/partition_log.py"
_GROUP = "mk/storage/group_commit.py"
_RECOVERY = "mk/storage/log_recovery.py"
_SEGMENT = "mk/storage/log_segment.py"
_STATE = "mk/storage/partition_state.py"
_FILES = "mk/storage/files.py"
_LOCKS = "mk/storage/locks.py"

_CRASH = ("tests/crash/test_power_cut.py", "tests/crash/test_kill.py")
_UNIT = ("tests/unit/storage/test_partition_log.py", "tests/unit/storage/test_log_recovery.py")

BUGS: tuple[Bug, ...] = (
    # What is acknowledged.
    Bug(
        "append-not-synced",
        "1 D-5",
        _LOG,
        """\
        prepare(new)  # Not behind the sync: readers wait by then, and to whoever has slept it takes ten times as long.
        self._sync(state)
""",
        """\
        prepare(new)
""",
        (
            "tests/crash/test_power_cut.py::test_a_power_cut_loses_nothing_that_was_acknowledged_on_disk[sample-single_appends]",
        ),
    ),
    Bug(
        "published-before-sync",
        "3 D-5",
        _LOG,
        """\
        self._sync(state)
        self._publish(new)

    def _publish(""",
        """\
        self._publish(new)
        self._sync(new)
        new.sequence += 1
        prepare(new)
        self._publish(new)

    def _publish(""",
        (
            "tests/unit/storage/test_append_steps.py::test_readers_see_nothing_that_is_not_on_disk_at_any_moment_of_an_append",
        ),
    ),
    Bug(
        "shared-sync-published-before-it",
        "3 D-5",
        _LOG,
        """\
        if durability != _DEFERRED:
            new.high_watermark = end.offset
""",
        """\
        new.high_watermark = end.offset
""",
        (
            "tests/unit/storage/test_group_commit.py::test_what_is_written_is_neither_read_nor_acknowledged_before_a_sync",
        ),
    ),
    Bug(
        "shared-sync-of-another-epoch-acknowledged",
        "1 D-1",
        _GROUP,
        "            if state is not None and state.leader_epoch == own.leader_epoch and _covers(state, own):\n",
        "            if state is not None and _covers(state, own):\n",
        ("tests/unit/storage/test_group_commit.py::test_offsets_that_were_given_anew_are_not_taken_for_ones_own",),
    ),
    Bug(
        "shared-sync-acknowledged-without-a-look-at-the-epoch",
        "1 D-1",
        _GROUP,
        "    is_ours = _is_kept(log, state, own)\n",
        "    is_ours = True\n",
        ("tests/unit/storage/test_group_commit.py::test_offsets_that_were_given_anew_are_not_taken_for_ones_own",),
    ),
    Bug(
        "shared-sync-in-vain-with-every-epoch",
        "4 D-1",
        _GROUP,
        "    return state.leader_epoch == own.leader_epoch or min(begun, default=-1) >= own.written.offset\n",
        "    return state.leader_epoch == own.leader_epoch\n",
        (
            "tests/unit/storage/test_group_commit.py::test_a_killed_neighbours_half_batch_costs_nobody_an_acknowledgement",
        ),
    ),
    Bug(
        "records-without-a-sync-have-those-read-that-wait-for-one",
        "3 D-5",
        _LOG,
        "                if durability == PAGE_CACHE and state.high_watermark < first_offset:\n",
        "                if durability == PAGE_CACHE and state.high_watermark < 0:\n",
        (
            "tests/unit/storage/test_group_commit.py::test_records_without_a_sync_do_not_have_those_read_that_wait_for_one",
        ),
    ),
    Bug(
        "sync-not-marked",
        "1 D-1",
        _LOG,
        """\
        marked = state.copy()
        marked.syncing = 1
        try:
            write_state(self._files.state_fd, marked)""",
        """\
        marked = state.copy()
        try:
            write_state(self._files.state_fd, marked)""",
        (
            "tests/crash/test_kill.py::test_killed_at_any_operation_the_next_append_works_and_nothing_is_lost[sample-almost_full_segment-sync_refused]",
        ),
    ),
    Bug(
        "failed-sync-tried-again",
        "1 D-1",
        _LOG,
        """\
        try:
            files.fdatasync(self._segment_fd)
        except OSError as error:
            from mk""",
        """\
        try:
            try:
                files.fdatasync(self._segment_fd)
            except OSError:
                files.fdatasync(self._segment_fd)
        except OSError as error:
            from mk""",
        (
            "tests/unit/storage/test_partition_log.py::test_records_without_a_sync_count_as_lost_when_the_sync_before_the_next_segment_fails",
        ),
    ),
    Bug(
        "appends-go-on-in-a-file-whose-sync-failed",
        "1 D-1",
        _LOG,
        """\
            self._close_segment()
            try:
                _, self._epochs = give_up_segment(self._files, marked, self._epochs)
""",
        """\
            try:
                files.truncate(self._segment_fd, state.durable.position)
                write_state(self._files.state_fd, state)
""",
        (
            "tests/unit/storage/test_log_recovery.py::test_a_rebuilt_state_ignores_what_stands_behind_the_end_of_a_given_up_segment",
        ),
    ),
    Bug(
        "sync-failure-cuts-to-the-written-end",
        "1 D-1",
        _RECOVERY,
        """\
    end = state.durable
    try:
        fd = partition.open_segment_for_append(state.segment)""",
        """\
    end = state.written
    try:
        fd = partition.open_segment_for_append(state.segment)""",
        (
            "tests/unit/storage/test_partition_log.py::test_records_without_a_sync_count_as_lost_when_the_sync_before_the_next_segment_fails",
        ),
    ),
    Bug(
        "no-FAILED-where-no-new-segment-can-be-had",
        "1 D-1",
        _RECOVERY,
        """\
        _mark_failed(partition, error)
        raise PartitionFailedError(""",
        """\
        raise PartitionFailedError(""",
        (
            "tests/unit/storage/test_append_steps.py::test_where_no_new_segment_can_be_had_either_writers_stop_until_somebody_repairs_it",
        ),
    ),
    Bug(
        "short-write-taken-for-whole",
        "1 D-12",
        _LOG,
        "        if written != size_bytes:\n",
        "        if written == 0:\n",
        ("tests/unit/storage/test_partition_log.py::test_a_short_write_is_taken_back_whole",),
    ),
    Bug(
        "short-write-continued-by-a-second-one",
        "1 D-12",
        _LOG,
        """\
            self._take_back(state, path, why)
            raise DiskFullError(path=path, why=why)

    def _not_written""",
        """\
            files.append(self._segment_fd, [b"".join(buffers)[written:]])

    def _not_written""",
        ("tests/unit/storage/test_partition_log.py::test_a_short_write_is_taken_back_whole",),
    ),
    Bug(
        "refused-write-not-taken-back",
        "1 D-12",
        _LOG,
        "            files.truncate(self._segment_fd, state.written.position)\n        except OSError:\n            raise Sync",
        "            files.size(self._segment_fd)\n        except OSError:\n            raise Sync",
        ("tests/unit/storage/test_partition_log.py::test_a_short_write_is_taken_back_whole",),
    ),
    Bug(
        "refused-write-taken-back-to-the-durable-end",
        "1 D-12",
        _LOG,
        "            files.truncate(self._segment_fd, state.written.position)\n",
        "            files.truncate(self._segment_fd, state.durable.position)\n",
        (
            "tests/unit/storage/test_append_steps.py::test_a_refused_append_takes_back_nothing_that_others_published_without_a_sync",
        ),
    ),
    Bug(
        "failed-append-tells-of-nothing-stored",
        "1 D-1",
        _LOG,
        '        error.facts["records_appended"] = max(0, stored - first_offset)\n',
        '        error.facts["records_appended"] = 0\n',
        (
            "tests/unit/storage/test_partition_log.py::test_an_append_that_found_no_room_in_its_second_segment_tells_how_much_is_stored[0]",
        ),
    ),
    Bug(
        "lost-records-told-as-stored",
        "1 D-1",
        _LOG,
        "            stored = state.durable.offset if lost else state.written.offset\n",
        "            stored = state.written.offset\n",
        (
            "tests/unit/storage/test_partition_log.py::test_records_without_a_sync_count_as_lost_when_the_sync_before_the_next_segment_fails",
        ),
    ),
    Bug(
        "data-written-at-a-position",
        "1 D-7",
        "mk/storage/partition_files.py",
        "        return files.open_file(segment_name(base_offset), os.O_RDWR | os.O_APPEND, dir_fd=self.fd, linked=linked)\n",
        "        fd = files.open_file(segment_name(base_offset), os.O_RDWR, dir_fd=self.fd, linked=linked)\n"
        "        os.lseek(fd, 0, os.SEEK_END)\n"
        "        return fd\n",
        (
            "tests/unit/storage/test_append_steps.py::test_a_writer_whose_lock_was_broken_writes_behind_what_others_have_appended",
        ),
    ),
    # What is looked at again under the lock.
    Bug(
        "state-read-before-the-lock",
        "1 D-7",
        _LOG,
        """\
                self._acquire(mask)
                # Which has looked at topic.json; whoever sets a seal holds our lock, so there is none until we let go.
                self._files.topic.check_not_sealed()
                self._files.topic.check_keys(batches)
                state = self._refresh()
""",
        """\
                state = self._refresh()
                self._acquire(mask)
                # Which has looked at topic.json; whoever sets a seal holds our lock, so there is none until we let go.
                self._files.topic.check_not_sealed()
                self._files.topic.check_keys(batches)
""",
        ("tests/unit/storage/test_partition_log.py::test_an_append_to_a_deleted_topic_is_refused",),
    ),
    Bug(
        "lock-file-not-compared-with-its-path",
        "1 D-9",
        _LOG,
        "            if topic.directory.lock_is_current(self._lock_fd, topic.topic_id, self._files.partition):\n",
        "            if topic.directory.lock_is_current:\n",
        (
            "tests/unit/storage/test_append_steps.py::test_a_lock_file_that_was_replaced_is_locked_anew_before_anything_is_written",
        ),
    ),
    Bug(
        "topic-not-looked-at-under-the-lock",
        "1 D-7",
        _LOG,
        "            topic.check_identity()\n            if",
        "            if",
        (
            "tests/multiprocess/test_topic_gone.py::test_a_running_producer_is_told_and_acknowledges_nothing_more[renamed by hand]",
        ),
    ),
    Bug(
        "seal-not-looked-at-under-the-lock",
        "1 D-7",
        _LOG,
        "                self._files.topic.check_not_sealed()\n",
        "",
        ("tests/cli/test_topic_changes.py::test_a_running_producer_is_told_of_the_seal",),
    ),
    Bug(
        "keys-not-looked-at-under-the-lock",
        "5 D-7",
        _LOG,
        "                self._files.topic.check_keys(batches)\n",
        "",
        (
            "tests/api/test_sending_without_keys.py::test_what_was_buffered_before_the_policy_changed_is_refused_by_the_append[send]",
        ),
    ),
    Bug(
        "FAILED-not-looked-at",
        "1 D-7",
        _LOG,
        "        if files.exists(FAILED_FILE, dir_fd=files_.fd):\n            raise",
        "        if False:\n            raise",
        ("tests/unit/storage/test_partition_log.py::test_failed_stops_writers_and_not_readers",),
    ),
    Bug(
        "leader-not-looked-at",
        "1 D-18",
        _LOG,
        "        if not self._leads():\n            from",
        "        if False:\n            from",
        ("tests/unit/storage/test_follower_log.py::test_what_an_old_leader_had_written_is_cut_off_and_kept",),
    ),
    Bug(
        "leader-looked-at-by-what-is-remembered",
        "1 D-18",
        _LOG,
        """\
        # Again: whoever was killed while it fenced this directory may have come as far as `epochs`.
        self._check_leads()
        return state

    def _look(self) -> PartitionState | None:
        \"""Return `state` as it stands, None if it cannot be read, with the epochs that go with it.\"""
        files_ = self._files
        if files.exists(FAILED_FILE, dir_fd=files_.fd):
            raise PartitionFailedError(
                topic=files_.topic.name, partition=files_.partition, path=f"{files_.path}/{FAILED_FILE}"
            )
        state = files_.read_state(self._published)
        # With `syncing` set, who changed the leader may have been killed between `epochs` and `state`.
        if state is None or state.syncing or state.leader_epoch != self._epochs.latest.epoch:
""",
        """\
        return state

    def _look(self) -> PartitionState | None:
        files_ = self._files
        if files.exists(FAILED_FILE, dir_fd=files_.fd):
            raise PartitionFailedError(
                topic=files_.topic.name, partition=files_.partition, path=f"{files_.path}/{FAILED_FILE}"
            )
        state = files_.read_state(self._published)
        if state is None or state.leader_epoch != self._epochs.latest.epoch:
""",
        ("tests/unit/storage/test_follower_log.py::test_a_producer_that_comes_while_a_fencing_is_killed_is_refused",),
    ),
    Bug(
        "boot-not-compared",
        "1 D-4",
        _LOG,
        "            and state.boot_id == boot_id()\n",
        "",
        ("tests/unit/storage/test_log_recovery.py::test_a_segment_with_bytes_behind_the_active_one_is_never_removed",),
    ),
    Bug(
        "syncing-not-looked-at",
        "1 D-1",
        _LOG,
        "            and not state.syncing\n            and self._open",
        "            and self._open",
        (
            "tests/unit/storage/test_log_recovery.py::test_offsets_cut_by_a_recovery_that_was_killed_before_it_published_are_given_anew_under_a_new_epoch",
        ),
    ),
    Bug(
        "size-of-the-segment-not-compared",
        "1 D-4",
        _LOG,
        "            and self._open_segment(state.segment) == state.written.position\n",
        "            and self._open_segment(state.segment) >= state.written.position\n",
        (
            "tests/unit/storage/test_partition_log.py::test_any_refused_operation_is_an_error_of_mk_and_loses_nothing_that_was_acknowledged[False-0-28]",
        ),
    ),
    Bug(
        "descriptor-of-a-replaced-segment-used",
        "1 D-7",
        _LOG,
        "            if self._segment == base_offset and self._segment_inode == there.st_ino:\n",
        "            if self._segment == base_offset:\n",
        (
            "tests/unit/storage/test_append_steps.py::test_who_had_a_segment_open_that_others_gave_up_appends_to_the_one_in_its_place",
        ),
    ),
    Bug(
        "names-above-a-new-topic-not-synced",
        "1 D-13",
        _LOG,
        """\
                files.fsync(files_.topic.fd)
                files.fsync(files_.topic.directory.topics_fd)
                files.fsync(files_.topic.directory.fd)
""",
        "                pass\n",
        ("tests/unit/storage/test_partition_log.py::test_the_first_append_puts_the_names_above_it_on_disk",),
    ),
    Bug(
        "fork-shares-the-lock",
        "1 D-10",
        _LOG,
        "        if self._pid != os.getpid():\n",
        "        if self._pid < 0:\n",
        (
            "tests/api/test_sharing_a_producer.py::test_children_of_a_fork_take_locks_of_their_own_and_leave_what_waits_to_the_parent",
        ),
    ),
    Bug(
        "waiter-that-gave-up-shares-the-lock",
        "1 D-9",
        _LOG,
        """\
            # The waiter that was given up shares this open file, and will unlock it some day.
            self._reopen_lock()
            raise""",
        """\
            raise""",
        (
            "tests/api/test_sharing_a_producer.py::test_a_retry_after_a_time_out_does_not_share_the_lock_with_the_waiter_that_was_given_up",
        ),
    ),
    Bug(
        "waiter-that-gave-up-keeps-the-lock",
        "4 D-8",
        _LOCKS,
        """\
                if abandoned:
                    flock(own_fd, LOCK_UN)
                else:
                    locked = True""",
        """\
                locked = True""",
        ("tests/unit/storage/test_locks.py::test_a_waiter_that_gave_up_does_not_keep_the_lock_it_gets_later",),
    ),
    Bug(
        "signals-not-held-off-under-the-lock",
        "4 D-8",
        _LOG,
        """\
            pthread_sigmask(SIG_BLOCK, DEFERRED_SIGNALS)
            try:
                self._acquire(mask)""",
        """\
            try:
                self._acquire(mask)""",
        ("tests/multiprocess/test_locks_between_processes.py::test_a_stop_signal_waits_until_the_lock_is_let_go",),
    ),
    Bug(
        "signals-not-let-through-while-waiting",
        "4 D-8",
        _LOG,
        "            pthread_sigmask(SIG_SETMASK, outer_mask | {SIGTSTP})\n",
        "",
        ("tests/cli/test_produce.py::test_c_is_heard_while_waiting_for_a_lock",),
    ),
    Bug(
        "lock-not-let-go-after-a-failure",
        "4 D-8",
        _LOG,
        """\
            finally:
                release(self._lock_fd)  # Also if it was never got: that does nothing.
""",
        """\
            else:
                release(self._lock_fd)
""",
        (
            "tests/unit/storage/test_log_recovery.py::test_an_empty_segment_that_a_killed_roll_left_is_removed_by_the_next_append",
        ),
    ),
    # Rolls.
    Bug(
        "roll-does-not-sync-the-old-segment",
        "1 D-13",
        _LOG,
        """\
        self._sync(state)
        end = state.written
        if""",
        """\
        end = state.written
        if""",
        (
            "tests/crash/test_kill.py::test_killed_at_any_operation_the_next_append_works_and_nothing_is_lost[sample-almost_full_segment-sync_refused]",
        ),
    ),
    Bug(
        "roll-does-not-sync-the-directory",
        "1 D-13",
        _RECOVERY,
        """\
        files.close(files.open_file(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, dir_fd=partition.fd))
    files.fsync(partition.fd)
""",
        """\
        files.close(files.open_file(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, dir_fd=partition.fd))
""",
        (
            "tests/crash/test_power_cut.py::test_a_power_cut_loses_nothing_that_was_acknowledged_on_disk[sample-failing_syncs]",
        ),
    ),
    Bug(
        "roll-does-not-sync-state",
        "1 D-13",
        _RECOVERY,
        """\
    # new one would be a leftover.
    _publish(partition, new)
""",
        """\
    # new one would be a leftover.
    write_state(partition.state_fd, new)
""",
        (
            "tests/crash/test_power_cut.py::test_a_power_cut_loses_nothing_that_was_acknowledged_on_disk[sample-full_disk]",
        ),
    ),
    Bug(
        "state-of-a-roll-relied-on-before-it-is-on-disk",
        "1 D-13",
        _RECOVERY,
        """\
    state.syncing = 1
    write_state(partition.state_fd, state)
    files.fdatasync(partition.state_fd)
    state.syncing = 0
    write_state(partition.state_fd, state)
""",
        """\
    write_state(partition.state_fd, state)
    files.fdatasync(partition.state_fd)
""",
        (
            "tests/unit/storage/test_partition_log.py::test_records_without_a_sync_count_as_lost_when_the_sync_before_the_next_segment_fails",
        ),
    ),
    Bug(
        "roll-names-the-segment-before-it-is-there",
        "4 D-13",
        _RECOVERY,
        """\
        files.close(files.open_file(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, dir_fd=partition.fd))
    files.fsync(partition.fd)
    new = state.copy()
    new.segment = end.offset
    new.began_ms = 0
    new.written = new.durable = LogEnd(0, end.offset, end.chain, -1)
    new.high_watermark = end.offset
    # On disk, or a power cut could bring back a `state` that ends in the old segment, and what is acknowledged in the
    # new one would be a leftover.
    _publish(partition, new)
    return new
""",
        """\
        pass
    new = state.copy()
    new.segment = end.offset
    new.began_ms = 0
    new.written = new.durable = LogEnd(0, end.offset, end.chain, -1)
    new.high_watermark = end.offset
    _publish(partition, new)
    if end.offset != state.segment:
        files.close(files.open_file(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, dir_fd=partition.fd))
    files.fsync(partition.fd)
    return new
""",
        (
            "tests/crash/test_power_cut.py::test_a_power_cut_during_the_recovery_from_a_power_cut_loses_no_more[sample-full_disk]",
        ),
    ),
    Bug(
        "roll-into-a-leftover",
        "1 D-13",
        _RECOVERY,
        """\
    _remove_leftovers(partition, state.segment)
    if partition""",
        """\
    if partition""",
        (
            "tests/unit/storage/test_append_steps.py::test_a_segment_that_a_killed_process_began_is_no_obstacle_to_the_next_that_gives_up",
        ),
    ),
    Bug(
        "leftover-with-bytes-removed",
        "5 D-13",
        _RECOVERY,
        "            if size:\n                raise",
        "            if size < 0:\n                raise",
        ("tests/unit/storage/test_log_recovery.py::test_a_segment_with_bytes_behind_the_active_one_is_never_removed",),
    ),
    Bug(
        "removed-leftovers-not-synced",
        "1 D-13",
        _RECOVERY,
        """\
            files.unlink(name, dir_fd=partition.fd)
    files.fsync(partition.fd)


def unlink_if_there""",
        """\
            files.unlink(name, dir_fd=partition.fd)


def unlink_if_there""",
        (
            "tests/crash/test_kill.py::test_killed_at_any_operation_the_next_append_works_and_nothing_is_lost[sample-first_segment_only_torn-recovery_finds_a_refusing_disk]",
        ),
    ),
    Bug(
        "given-up-segment-written-over-in-place",
        "1 D-1",
        _RECOVERY,
        "        replace_segment(partition, end.offset, evidence_name(partition, end.offset, state.leader_epoch))\n",
        "        files.truncate(partition.open_segment_for_append(end.offset), 0)\n",
        (
            "tests/unit/storage/test_append_steps.py::test_who_had_a_segment_open_that_others_gave_up_appends_to_the_one_in_its_place",
        ),
    ),
    # Recovery.
    Bug(
        "torn-tail-cut-at-the-first-bad-batch",
        "1 D-2",
        _RECOVERY,
        "        _refuse_loss(partition, state, epochs, fd, end, fault, size)\n        _remove",
        "        _remove",
        (
            "tests/unit/storage/test_log_recovery.py::test_damage_below_a_durable_offset_found_behind_it_is_refused_and_nothing_is_changed",
        ),
    ),
    Bug(
        "durable-offsets-behind-damage-not-looked-for",
        "1 D-2",
        _RECOVERY,
        "        beyond = batch.durable_offset > end.offset and not follows and",
        "        beyond = position == end.position and batch.durable_offset > end.offset and not follows and",
        (
            "tests/unit/storage/test_log_recovery.py::test_damage_below_a_durable_offset_found_behind_it_is_refused_and_nothing_is_changed",
        ),
    ),
    Bug(
        "shorter-than-the-durable-end-taken-for-a-torn-tail",
        "5 D-2",
        _RECOVERY,
        """\
        if size < state.durable.position:
            raise _newer_than_data(partition, state, size)
""",
        """\
        if size < state.durable.position:
            state.durable = state.written = LogEnd(0, state.segment, UNKNOWN_CHAIN, -1)
""",
        ("tests/unit/storage/test_log_recovery.py::test_a_segment_shorter_than_its_durable_end_is_refused",),
    ),
    Bug(
        "recovery-trusts-the-cache",
        "1 D-4",
        _RECOVERY,
        "            and not (confirmed and _uncached(fd, state.durable.position, size))\n",
        "            and not confirmed\n",
        (
            "tests/unit/storage/test_partition_log.py::test_an_append_whose_sync_failed_is_indeterminate_also_without_a_file_left_to_open",
        ),
    ),
    Bug(
        "recovery-does-not-sync-first",
        "1 D-4",
        _RECOVERY,
        "        confirmed = _sync(fd)\n",
        "        confirmed = True\n",
        (
            "tests/unit/storage/test_log_recovery.py::test_a_disk_that_refuses_to_sync_after_a_reboot_costs_nothing_that_was_acknowledged",
        ),
    ),
    Bug(
        "recovery-goes-on-in-a-file-that-the-disk-did-not-confirm",
        "1 D-4",
        _RECOVERY,
        "        if not kept or not confirmed:\n",
        "        if not kept:\n",
        (
            "tests/unit/storage/test_log_recovery.py::test_a_disk_that_refuses_to_sync_after_a_reboot_costs_nothing_that_was_acknowledged",
        ),
    ),
    Bug(
        "cut-of-a-recovery-not-synced",
        "1 D-4",
        _RECOVERY,
        """\
        if size > end.position:
            files.truncate(fd, end.position)
            files.fdatasync(fd)
        # Also""",
        """\
        if size > end.position:
            files.truncate(fd, end.position)
        # Also""",
        ("tests/unit/storage/test_append_steps.py::test_what_a_recovery_cuts_is_cut_on_disk_before_anybody_is_told",),
    ),
    Bug(
        "recovery-not-marked-before-it-cuts",
        "1 D-6",
        _RECOVERY,
        """\
        state.syncing = 1
        write_state(partition.state_fd, state)
    try:
        fd = _open_own""",
        """\
        state.syncing = 1
    try:
        fd = _open_own""",
        (
            "tests/unit/storage/test_log_recovery.py::test_offsets_cut_by_a_recovery_that_was_killed_before_it_published_are_given_anew_under_a_new_epoch",
        ),
    ),
    Bug(
        "epoch-not-raised-after-a-cut",
        "1 D-6",
        _RECOVERY,
        "            if had_batch or not same_boot or end.offset < state.written.offset:\n",
        "            if not same_boot or end.offset < state.written.offset:\n",
        (
            "tests/unit/storage/test_log_recovery.py::test_offsets_cut_by_a_recovery_that_was_killed_before_it_published_are_given_anew_under_a_new_epoch",
        ),
    ),
    Bug(
        "epoch-not-raised-after-a-power-cut",
        "1 D-6",
        _RECOVERY,
        "            if had_batch or not same_boot or end.offset < state.written.offset:\n",
        "            if had_batch or end.offset < state.written.offset:\n",
        (
            "tests/unit/storage/test_log_recovery.py::test_an_epoch_without_batches_is_dropped_when_an_older_one_goes_on_there",
        ),
    ),
    Bug(
        "epoch-not-raised-where-published-records-are-gone",
        "1 D-6",
        _RECOVERY,
        "            if had_batch or not same_boot or end.offset < state.written.offset:\n",
        "            if had_batch or not same_boot:\n",
        (
            "tests/unit/storage/test_log_recovery.py::test_published_records_that_the_disk_lost_as_zeros_are_given_anew_under_a_new_epoch",
        ),
    ),
    Bug(
        "epoch-not-raised-when-a-segment-is-given-up",
        "1 D-6",
        _RECOVERY,
        "        if (had_batch or end.offset < state.written.offset) and _leads(partition, epochs):\n",
        "        if end.offset < state.written.offset and _leads(partition, epochs):\n",
        (
            "tests/unit/storage/test_append_steps.py::test_offsets_of_an_append_that_was_given_up_are_given_anew_under_a_new_epoch",
        ),
    ),
    Bug(
        "follower-raises-the-epoch",
        "1 D-6",
        _RECOVERY,
        "        if _leads(partition, epochs):  # Those",
        "        if True:  # Those",
        ("tests/unit/storage/test_follower_log.py::test_a_copy_never_raises_an_epoch",),
    ),
    Bug(
        "published-before-the-epoch-is-raised",
        "1 D-6",
        _RECOVERY,
        """\
        epochs = _replace_epochs(partition, epochs, proved)
        new.leader_epoch = epochs.latest.epoch
        if not kept""",
        """\
        new.leader_epoch = proved.latest.epoch
        write_state(partition.state_fd, new)
        epochs = _replace_epochs(partition, epochs, proved)
        if not kept""",
        (
            "tests/crash/test_power_cut.py::test_a_power_cut_during_the_recovery_from_a_power_cut_loses_no_more[sample-single_appends]",
        ),
    ),
    Bug(
        "cut-tail-not-kept",
        "5 D-4",
        _RECOVERY,
        "        kept = not had_batch or _keep_evidence(partition, fd, end, size, epochs)\n",
        "        kept = True\n",
        (
            "tests/unit/storage/test_log_recovery.py::test_offsets_cut_by_a_recovery_that_was_killed_before_it_published_are_given_anew_under_a_new_epoch",
        ),
    ),
    Bug(
        "evidence-not-synced",
        "5 D-4",
        "mk/storage/quarantine.py",
        "            files.fsync(copy)\n",
        "",
        ("tests/crash/test_following.py::test_broken_off_anywhere_the_next_run_ends_it[cut]",),
    ),
    Bug(
        "name-of-evidence-not-synced",
        "5 D-4",
        "mk/storage/quarantine.py",
        """\
        finally:
            files.close(copy)
        files.fsync(quarantine_fd)
""",
        """\
        finally:
            files.close(copy)
""",
        ("tests/crash/test_following.py::test_broken_off_anywhere_the_next_run_ends_it[cut]",),
    ),
    Bug(
        "cut-though-the-evidence-could-not-be-kept",
        "5 D-4",
        _RECOVERY,
        "        if not kept or not confirmed:\n",
        "        if not confirmed:\n",
        (
            "tests/unit/storage/test_log_recovery.py::test_a_tail_that_cannot_be_kept_as_evidence_is_left_behind_a_new_segment",
        ),
    ),
    Bug(
        "stale-hints-kept-after-a-recovery",
        "3 D-13",
        _RECOVERY,
        """\
        # Also if nothing was cut: the index may have survived the power where the batches it points to did not.
        cut_index(partition, state.segment, end.position)
""",
        "",
        ("tests/unit/storage/test_log_recovery.py::test_hints_to_batches_that_the_power_took_are_dropped",),
    ),
    Bug(
        "state-rebuilt-over-damage-in-a-sealed-segment",
        "5 D-2",
        _RECOVERY,
        "            if end.offset != following:\n                refuse_newer",
        "            if False:\n                refuse_newer",
        (
            "tests/unit/storage/test_log_recovery.py::test_a_damaged_batch_in_a_sealed_segment_stops_the_rebuilding_of_state",
        ),
    ),
    Bug(
        "rebuilt-state-older-than-the-lost-one",
        "3 D-5",
        _RECOVERY,
        "    state.sequence = time.time_ns()\n",
        "",
        (
            "tests/unit/storage/test_log_recovery.py::test_state_is_rebuilt_from_the_segments_when_both_slots_are_damaged",
        ),
    ),
    Bug(
        "batch-of-a-newer-mk-cut-off",
        "5 D-2",
        _RECOVERY,
        "        refuse_newer(fd, end.position, end.offset, partition.segment_path(state.segment))\n        _refuse",
        "        _refuse",
        ("tests/unit/storage/test_log_recovery.py::test_a_batch_of_a_newer_mk_is_refused_and_not_cut[whole]",),
    ),
    # What proves a batch.
    Bug(
        "payload-checksum-not-checked-in-a-recovery",
        "5 D-3",
        _SEGMENT,
        """\
        elif _payload_crc(fd, position + HEADER_SIZE, batch.payload_length) != batch.payload_crc:
            fault = "the batch there has another checksum than its bytes"
""",
        "",
        ("tests/unit/storage/test_log_segment.py::test_following_stops_in_front_of_whatever_does_not_prove_itself",),
    ),
    Bug(
        "chain-not-compared",
        "5 D-6",
        _SEGMENT,
        """\
        elif chain != UNKNOWN_CHAIN and not batch.attributes & COMPACTED and batch.chain != batch.chain_after(chain):
            fault = "the batch there does not continue the one before it"
""",
        "",
        ("tests/unit/storage/test_log_segment.py::test_following_stops_in_front_of_whatever_does_not_prove_itself",),
    ),
    Bug(
        "base-offset-not-compared",
        "5 D-3",
        _SEGMENT,
        """\
        elif batch.base_offset != offset:
            fault = f"the batch there begins at offset {batch.base_offset}, not {offset}"
        elif batch.leader""",
        """\
        elif batch.leader""",
        ("tests/unit/storage/test_log_segment.py::test_following_stops_in_front_of_whatever_does_not_prove_itself",),
    ),
    Bug(
        "falling-epoch-accepted",
        "5 D-3",
        _SEGMENT,
        """\
        elif batch.leader_epoch < leader_epoch:
            fault = f"the batch there is of leader epoch {batch.leader_epoch}, after one of {leader_epoch}"
""",
        "",
        ("tests/unit/storage/test_log_segment.py::test_an_epoch_that_falls_is_from_another_life_of_the_file",),
    ),
    Bug(
        "headers-looked-for-within-values",
        "5 D-2",
        _SEGMENT,
        "            position = start + at + found.size_bytes\n",
        "            position = start + at + HEADER_SIZE\n",
        ("tests/unit/storage/test_log_segment.py::test_headers_are_found_behind_damage_and_not_inside_of_values",),
    ),
    # `state`.
    Bug(
        "state-checksum-not-checked",
        "5 D-5",
        _STATE,
        """\
        if int(slot[at + 5 : at + 13], 16) != crc32c(line):
            return None
""",
        "",
        ("tests/unit/storage/test_partition_state.py::test_every_flipped_bit_of_a_slot_is_noticed_or_harmless",),
    ),
    Bug(
        "known-state-taken-for-what-stands-there",
        "1 D-7",
        _STATE,
        "    if known is not None and first == known.slot:\n",
        "    if known is not None:\n",
        (
            "tests/unit/storage/test_partition_log.py::test_two_who_append_in_turn_see_each_others_records",
            "tests/unit/storage/test_partition_state.py::test_a_state_that_is_known_is_taken_for_what_stands_there_only_if_it_is_the_same",
        ),
    ),
    Bug(
        "state-written-over-the-newer-slot",
        "4 D-5",
        _STATE,
        """\
    state.sequence += 1
    state.slot = state.encode()
""",
        """\
    state.slot = state.encode()
    state.sequence += 1
""",
        ("tests/unit/storage/test_partition_state.py::test_the_newest_valid_slot_counts_and_a_torn_one_does_not",),
    ),
    Bug(
        "older-slot-of-state-believed",
        "1 D-5",
        _STATE,
        "    if _sequence_of(second) > _sequence_of(first):\n",
        "    if not first:\n",
        ("tests/unit/storage/test_partition_state.py::test_the_newest_valid_slot_counts_and_a_torn_one_does_not",),
    ),
    # Small files.
    Bug(
        "replaced-file-not-synced",
        "1 D-13",
        _FILES,
        """\
        pwrite(fd, data, 0)
        fsync(fd)
    except""",
        """\
        pwrite(fd, data, 0)
    except""",
        (
            "tests/crash/test_topic_changes.py::test_a_power_cut_at_any_operation_leaves_the_old_or_the_new_topic[sample]",
        ),
    ),
    Bug(
        "name-of-a-replaced-file-not-synced",
        "1 D-13",
        _FILES,
        """\
        unlink(temporary, dir_fd=dir_fd)
        raise
    fsync(dir_fd)
""",
        """\
        unlink(temporary, dir_fd=dir_fd)
        raise
""",
        (
            "tests/crash/test_topic_changes.py::test_a_power_cut_at_any_operation_leaves_the_old_or_the_new_topic[sample]",
        ),
    ),
    Bug(
        "file-replaced-in-place",
        "4 D-13",
        _FILES,
        """\
    temporary = f".tmp-{os.urandom(8).hex()}"
    write_new_file(temporary, data, dir_fd=dir_fd, mode=mode)
    try:
        rename(temporary, name, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
    except OSError:
        unlink(temporary, dir_fd=dir_fd)
        raise
    fsync(dir_fd)
""",
        """\
    fd = open_file(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode, dir_fd=dir_fd)
    pwrite(fd, data, 0)
    fsync(fd)
    os.close(fd)
    fsync(dir_fd)
""",
        ("tests/unit/storage/test_files.py::test_a_file_is_replaced_whole_and_a_refusal_leaves_the_old_one",),
    ),
    Bug(
        "links-followed",
        "6 security",
        _FILES,
        "_SAFE = os.O_CLOEXEC | os.O_NOFOLLOW\n",
        "_SAFE = os.O_CLOEXEC\n",
        ("tests/unit/storage/test_files.py::test_a_link_planted_under_a_name_is_not_followed",),
    ),
    Bug(
        "planted-pipe-waited-for",
        "6 security",
        _FILES,
        "    if not S_ISREG(os.fstat(fd).st_mode):\n        close(fd)\n",
        "    if S_ISDIR(os.fstat(fd).st_mode):\n        close(fd)\n",
        ("tests/unit/storage/test_files.py::test_a_planted_pipe_or_directory_is_refused_and_does_not_hang",),
    ),
    Bug(
        "files-with-a-second-name-written-to",
        "6 security",
        _FILES,
        """\
                if status.st_nlink > 1 and not linked:
                    raise _linked(_whole_path(name, dir_fd), status.st_nlink)
                if not (linked or flags & os.O_EXCL or _is_by_its_only_name(fd, name, dir_fd)):
                    close(fd)
                    continue  # Replaced since it was opened, by another mk perhaps, which does so once and not again and again.
""",
        "",
        ("tests/cli/test_hostile_neighbours.py::test_a_file_with_another_name_is_not_written_to",),
    ),
    Bug(
        "names-counted-before-the-file-was-taken-away",
        "6 security",
        _FILES,
        """\
                if not (linked or flags & os.O_EXCL or _is_by_its_only_name(fd, name, dir_fd)):
                    close(fd)
                    continue  # Replaced since it was opened, by another mk perhaps, which does so once and not again and again.
""",
        "",
        ("tests/unit/storage/test_files.py::test_a_file_that_was_put_there_and_taken_away_again_is_not_written_to",),
    ),
    Bug(
        "files-writable-by-everybody",
        "6 security",
        _FILES,
        "    mode = mode & 0o700 | (mode & 0o700) >> 3 | mode & above.st_mode & 0o007\n",
        "    mode = mode & 0o700 | (mode & 0o700) >> 3 | (mode & 0o700) >> 6\n",
        ("tests/cli/test_shared_group.py::test_members_write_in_turn_whatever_their_umask[all]",),
    ),
    Bug(
        "cache-not-proved-gone",
        "1 D-4",
        _FILES,
        """\
    try:
        os.preadv(fd, [bytearray(1)], size_bytes - 1, nowait)
    except BlockingIOError:""",
        """\
    try:
        raise BlockingIOError
    except BlockingIOError:""",
        ("tests/unit/storage/test_files.py::test_a_cache_that_somebody_pins_is_noticed",),
    ),
    Bug(
        "disk-reserve-not-kept",
        "6 D-12",
        "mk/storage/partition_files.py",
        "        if free_bytes - wanted_bytes < reserve_bytes:\n",
        "        if free_bytes - wanted_bytes < 0:\n",
        ("tests/unit/storage/test_partition_cleaner.py::test_an_append_leaves_what_is_kept_free[-1-True]",),
    ),
)
