"""Bugs in topics that come and go, at the command line, in files beside the log, and towards those who mean harm."""

from __future__ import annotations

from tests.proof.bugs.bug import Bug

_DIRECTORY = "mk/storage/log_directory.py"
_CHANGES = "mk/storage/topic_changes.py"
_CURSOR = "mk/consumer/cursor_file.py"
_CHILD = "mk/consumer/child.py"
_CONSUME = "mk/cli/consume.py"
_MAIN = "mk/cli/main.py"
_ADDRESS = "mk/transport/address.py"
_PERMISSIONS = "mk/server/permissions.py"

_TOPICS = ("tests/crash/test_topics.py", "tests/unit/storage/test_log_directory.py")
_CURSORS = ("tests/crash/test_cursor.py", "tests/cli/test_cursor_file.py")

BUGS: tuple[Bug, ...] = (
    # Topics.
    Bug(
        "topic-json-not-synced",
        "4 D-13",
        _DIRECTORY,
        "        files.write_new_file(TOPIC_FILE, content, dir_fd=topic_fd)\n        files.fsync(topic_fd)\n",
        "        files.write_new_file(TOPIC_FILE, content, dir_fd=topic_fd)\n",
        ("tests/crash/test_topics.py::test_a_power_cut_at_any_operation_leaves_topics_whole_or_absent[sample]",),
    ),
    Bug(
        "name-of-a-topic-not-synced",
        "4 D-13",
        _DIRECTORY,
        '        files.rename(f".tmp-{topic_id}", name, src_dir_fd=self.topics_fd, dst_dir_fd=self.topics_fd)\n'
        "        files.fsync(self.topics_fd)\n",
        '        files.rename(f".tmp-{topic_id}", name, src_dir_fd=self.topics_fd, dst_dir_fd=self.topics_fd)\n',
        ("tests/crash/test_topics.py::test_a_power_cut_at_any_operation_leaves_topics_whole_or_absent[sample]",),
    ),
    Bug(
        "topic-made-in-its-place",
        "4 D-23",
        _DIRECTORY,
        "        files.write_new_file(TOPIC_FILE, content, dir_fd=topic_fd)\n        files.fsync(topic_fd)\n",
        '        files.rename(f".tmp-{topic_id}", name, src_dir_fd=self.topics_fd, dst_dir_fd=self.topics_fd)\n'
        "        files.write_new_file(TOPIC_FILE, content, dir_fd=topic_fd)\n        files.fsync(topic_fd)\n"
        '        files.rename(name, f".tmp-{topic_id}", src_dir_fd=self.topics_fd, dst_dir_fd=self.topics_fd)\n',
        ("tests/crash/test_topics.py::test_a_power_cut_at_any_operation_leaves_topics_whole_or_absent[sample]",),
    ),
    Bug(
        "files-of-a-partition-not-synced",
        "4 D-13",
        _DIRECTORY,
        "epochs or EpochEntry(0, 0, self.directory_id).encode(), dir_fd=fd)\n            files.fsync(fd)\n",
        "epochs or EpochEntry(0, 0, self.directory_id).encode(), dir_fd=fd)\n",
        ("tests/crash/test_topics.py::test_a_power_cut_at_any_operation_leaves_topics_whole_or_absent[sample]",),
    ),
    Bug(
        "locks-of-a-topic-not-synced",
        "4 D-9",
        _DIRECTORY,
        "            files.fsync(fd)\n        finally:\n            files.close(fd)\n        files.fsync(self.locks_fd)\n",
        "        finally:\n            files.close(fd)\n",
        ("tests/crash/test_topics.py::test_a_power_cut_at_any_operation_leaves_topics_whole_or_absent[sample]",),
    ),
    Bug(
        "lock-file-removed-while-its-topic-lives",
        "1 D-9",
        "mk/storage/partition_log.py",
        "            files.close(self._lock_fd)\n            self._files.close()\n\n    # Under",
        "            files.close(self._lock_fd)\n"
        "            topic = self._files.topic\n"
        '            os.unlink(f"{topic.directory.path}/locks/{topic.topic_id}/{self._files.partition}")\n'
        "            self._files.close()\n\n    # Under",
        ("tests/cli/test_produce.py::test_acks[0]",),
    ),
    Bug(
        "topic-deleted-without-its-append-locks",
        "1 D-7",
        _DIRECTORY,
        "        with append_locks(self, topic_id, name, partitions, wait_ms=wait_ms):\n",
        "        with append_locks(self, topic_id, name, (), wait_ms=wait_ms):\n",
        ("tests/unit/storage/test_log_directory.py::test_deleting_waits_for_an_append_under_way",),
    ),
    Bug(
        "topic-renamed-without-its-append-locks",
        "1 D-7",
        _CHANGES,
        "            with append_locks(directory, topic.topic_id, old, range(topic.partitions), wait_ms=wait_ms):\n",
        "            with append_locks(directory, topic.topic_id, old, (), wait_ms=wait_ms):\n",
        ("tests/cli/test_topic_changes.py::test_a_change_waits_for_an_append_and_not_for_ever",),
    ),
    Bug(
        "sealed-without-the-append-locks",
        "1 D-7",
        _CHANGES,
        """\
            with append_locks(directory, topic.topic_id, name, range(topic.partitions), wait_ms=wait_ms):
                if seal:
""",
        """\
            with append_locks(directory, topic.topic_id, name, (), wait_ms=wait_ms):
                if seal:
""",
        ("tests/cli/test_topic_changes.py::test_a_change_waits_for_an_append_and_not_for_ever",),
    ),
    Bug(
        "sealed-with-records-that-wait-for-a-sync",
        "3 D-5",
        _CHANGES,
        """\
                if seal:
                    _finish_appends(topic)
""",
        "",
        ("tests/unit/storage/test_group_commit.py::test_a_seal_comes_behind_all_that_is_written",),
    ),
    Bug(
        "name-of-a-renamed-topic-not-synced",
        "4 D-13",
        _CHANGES,
        "                files.rename(old, new, src_dir_fd=directory.topics_fd, dst_dir_fd=directory.topics_fd)\n"
        "                files.fsync(directory.topics_fd)\n",
        "                files.rename(old, new, src_dir_fd=directory.topics_fd, dst_dir_fd=directory.topics_fd)\n",
        ("tests/crash/test_topic_changes.py::test_a_change_is_on_disk_when_it_is_done_and_never_in_part[renamed]",),
    ),
    Bug(
        "new-partitions-not-synced-before-they-count",
        "4 D-23",
        _CHANGES,
        "        directory.create_partition(topic.fd, topic.topic_id, partition, epochs, first_offset)\n    files.fsync(topic.fd)\n",
        "        directory.create_partition(topic.fd, topic.topic_id, partition, epochs, first_offset)\n",
        ("tests/crash/test_topic_changes.py::test_a_change_is_on_disk_when_it_is_done_and_never_in_part[altered]",),
    ),
    Bug(
        "names-that-differ-in-case-only-accepted",
        "6 D-22",
        _DIRECTORY,
        "            if existing.casefold() == name.casefold() and existing != but:\n",
        "            if existing == name and existing != but:\n",
        ("tests/unit/storage/test_log_directory.py::test_names_that_differ_in_case_only_clash",),
    ),
    Bug(
        "network-file-system-accepted",
        "6 D-21",
        _DIRECTORY,
        "    if is_network_file_system(file_system):\n",
        "    if file_system is ...:\n",
        ("tests/unit/storage/test_host.py::test_a_writer_refuses_a_file_system_whose_locks_are_not_proven[nfs]",),
    ),
    # The command line.
    Bug(
        "full-output-is-status-0",
        "6 D-12",
        _MAIN,
        "        status = _run(arguments)\n        sys.stdout.flush()\n",
        "        status = _run(arguments)\n        _flush_or_drop(sys.stdout, 1)\n",
        ("tests/cli/test_topics.py::test_output_that_cannot_be_written",),
    ),
    Bug(
        "full-disk-is-status-0",
        "6 D-12",
        _MAIN,
        "    return failure.exit_status\n\n\ndef _run",
        "    return 0 if failure.exit_status == 74 else failure.exit_status\n\n\ndef _run",
        ("tests/cli/test_main.py::test_every_family_ends_with_its_status[StorageError]",),
    ),
    Bug(
        "short-write-to-standard-output-taken-for-whole",
        "1 D-12",
        _CONSUME,
        "        if taken:\n            buffers[0] = memoryview(buffers[0])[taken:]\n",
        "        if taken:\n            buffers = buffers[1:]\n",
        ("tests/cli/test_consume.py::test_to_a_pipe_that_does_not_block[20]",),
    ),
    Bug(
        "full-pipe-that-does-not-block-is-an-error",
        "6 D-12",
        _CONSUME,
        """\
        except BlockingIOError:
            # Somebody who shares the pipe or terminal made it non-blocking, and it is full.
            _wait_for_room()
            continue
""",
        """\
        except BlockingIOError:
            return
""",
        ("tests/cli/test_consume.py::test_to_a_pipe_that_does_not_block[20]",),
    ),
    Bug(
        "signal-dropped-by-a-del",
        "4 D-8",
        "mk/cli/signals.py",
        "    if isinstance(unraisable.exc_value, KeyboardInterrupt):\n",
        "    if unraisable.exc_value is ...:\n",
        ("tests/cli/test_main.py::test_a_signal_is_not_lost_where_python_drops_exceptions[2]",),
    ),
    Bug(
        "escapes-reach-the-terminal",
        "6 security",
        "mk/formats/terminal.py",
        '_UNSAFE = f"[\\x00-\\x08\\x0b-\\x1f{_UNSAFE_IN_JSON}\\udc80-\\udcff]"\n',
        '_UNSAFE = f"[\\x00-\\x08\\x0b-\\x1a{_UNSAFE_IN_JSON}\\udc80-\\udcff]"\n',
        ("tests/unit/formats/test_terminal.py::test_what_could_steer_or_mislead_a_terminal_is_shown_by_its_bytes",),
    ),
    Bug(
        "values-in-errors",
        "6 security",
        "mk/formats/json_reader.py",
        '    raise BadRecordError(f"{name} is {_kind(value)}, and not {wanted}")\n',
        '    raise BadRecordError(f"{name} is {value!r}, and not {wanted}")\n',
        (
            "tests/unit/formats/test_json_reader.py::test_what_is_no_record_is_refused_with_the_reason_and_without_its_values",
        ),
    ),
    Bug(
        "names-not-checked",
        "6 security",
        "mk/topic_partition.py",
        "        and name[0].isalnum()\n",
        "",
        (
            "tests/unit/test_topic_partition.py::test_what_a_file_system_a_shell_or_mk_itself_would_take_for_something_else_is_none[-x]",
        ),
    ),
    Bug(
        "names-with-a-slash",
        "6 security",
        "mk/topic_partition.py",
        "        and _ALLOWED.issuperset(name)\n",
        '        and _ALLOWED.issuperset(name.replace("/", ""))\n',
        (
            "tests/unit/test_topic_partition.py::test_what_a_file_system_a_shell_or_mk_itself_would_take_for_something_else_is_none",
        ),
    ),
    Bug(
        "locks-readable-by-all",
        "6 security",
        _DIRECTORY,
        '("locks", PRIVATE), ("quarantine", PRIVATE)):\n',
        '("locks", 0o755), ("quarantine", PRIVATE)):\n',
        ("tests/cli/test_sharing.py::test_another_user_cannot_get_at_the_locks",),
    ),
    # Children.
    Bug(
        "children-inherit-the-log",
        "4 D-10",
        _CHILD,
        "                env=self._environment,\n                bufsize=0,\n",
        "                env=self._environment,\n                bufsize=0,\n                close_fds=False,\n",
        ("tests/cli/test_exec_children.py::test_children_hold_nothing_but_their_three_streams",),
    ),
    Bug(
        "descriptors-of-the-log-inherited",
        "4 D-10",
        "mk/storage/files.py",
        "        fd = os.open(name, flags | _SAFE_FILE, mode, dir_fd=dir_fd)\n",
        "        fd = os.open(name, flags | _SAFE_FILE, mode, dir_fd=dir_fd)\n        os.set_inheritable(fd, True)\n",
        ("tests/multiprocess/test_locks_between_processes.py::test_a_child_inherits_no_descriptor_of_the_log",),
    ),
    Bug(
        "part-of-a-value-to-a-child-that-outlives-us",
        "2 D-8",
        _CHILD,
        """\
    if len(data) <= _PIPE_BYTES:
        fd, end = os.pipe()
        try:
            os.set_blocking(end, False)
            if os.write(end, data) == len(data):
                return fd
""",
        """\
    if len(data) <= _PIPE_BYTES << 8:
        fd, end = os.pipe()
        try:
            os.set_blocking(end, False)
            os.write(end, data)
            return fd
""",
        (
            "tests/cli/test_exec_children.py::test_what_a_pipe_holds_comes_through_a_pipe_and_more_than_that_through_a_file",
        ),
    ),
    # Cursor files.
    Bug(
        "cursor-not-synced",
        "2 D-13",
        _CURSOR,
        "            files.pwrite(fd, data, 0)\n            files.fsync(fd)\n",
        "            files.pwrite(fd, data, 0)\n",
        ("tests/crash/test_cursor.py::test_a_saved_position_is_never_lost_and_the_file_never_damaged[sample]",),
    ),
    Bug(
        "name-of-a-cursor-not-synced",
        "2 D-13",
        _CURSOR,
        "            files.close(old)\n            files.fsync(self._parent_fd)\n",
        "            files.close(old)\n",
        ("tests/crash/test_cursor.py::test_a_saved_position_is_never_lost_and_the_file_never_damaged[sample]",),
    ),
    Bug(
        "cursor-not-locked-before-it-is-in-place",
        "2 D-9",
        _CURSOR,
        "            locks.try_acquire(fd)\n            files.pwrite",
        "            files.pwrite",
        ("tests/cli/test_cursor_file.py::test_a_second_reader_is_refused_while_the_first_one_lives",),
    ),
    Bug(
        "cursor-not-looked-for-at-its-path-under-the-lock",
        "2 D-9",
        _CURSOR,
        "            if self._is_in_place(fd):\n",
        "            if True:\n",
        (
            "tests/unit/consumer/test_cursor_replaced.py::test_who_locks_a_file_that_was_replaced_meanwhile_takes_the_one_in_its_place",
        ),
    ),
    Bug(
        "cursor-that-was-taken-away-written",
        "2 D-9",
        _CURSOR,
        "            if not self._is_in_place(self._fd):\n",
        "            if False:\n",
        ("tests/cli/test_cursor_file.py::test_a_file_that_was_taken_away_meanwhile_is_not_written",),
    ),
    Bug(
        "cursor-of-another-directory-used",
        "2 D-16",
        _CURSOR,
        "            if written_for != directory_id:\n",
        "            if False:\n",
        ("tests/cli/test_cursor_file.py::test_a_cursor_of_another_directory_is_refused",),
    ),
    Bug(
        "checksum-of-a-cursor-not-checked",
        "5 D-13",
        _CURSOR,
        "    if end is None or int(end[1], 16) != crc32c(data[:at]):\n",
        "    if end is None:\n",
        ("tests/property/test_cursor_file.py::test_any_damage_is_noticed",),
    ),
    # Copies, and what is beside the log.
    Bug(
        "copy-of-a-clone-not-synced",
        "1 D-13",
        "mk/storage/log_copy.py",
        "            files.set_last_write(copy, last_write_ns)\n            files.fsync(copy)\n",
        "            files.set_last_write(copy, last_write_ns)\n",
        ("tests/crash/test_clone.py::test_a_power_cut_at_any_operation_leaves_a_whole_clone_or_none[sample-copied]",),
    ),
    Bug(
        "names-in-a-clone-not-synced",
        "1 D-13",
        "mk/storage/log_copy.py",
        "                files.close(fd)\n        files.fsync(self.target_fd)\n",
        "                files.close(fd)\n",
        ("tests/crash/test_clone.py::test_a_power_cut_at_any_operation_leaves_a_whole_clone_or_none[sample-linked]",),
    ),
    Bug(
        "snapshot-takes-the-log-before-the-claims",
        "2 D-16",
        "mk/maintenance/snapshot.py",
        """\
            self._take_groups()
            for topic_id, name in names.items():
                self._take_topic(topic_id, name)
""",
        """\
            for topic_id, name in names.items():
                self._take_topic(topic_id, name)
            self._take_groups()
""",
        (
            "tests/unit/maintenance/test_snapshot_order.py::test_what_is_committed_while_the_log_is_taken_is_not_in_the_snapshot",
        ),
    ),
    Bug(
        "line-of-a-journal-not-synced",
        "2 D-13",
        "mk/groups/reset_journal.py",
        "                written += files.append(self._fd, [line[written:]])\n            files.fdatasync(self._fd)\n",
        "                written += files.append(self._fd, [line[written:]])\n",
        ("tests/crash/test_resets.py::test_what_was_done_stays_and_what_moved_is_in_the_journal[sample-resets]",),
    ),
    Bug(
        "name-of-a-journal-not-synced",
        "2 D-13",
        "mk/groups/reset_journal.py",
        "        # Its name: the journal may be new, or made by somebody who was killed.\n        files.fsync(self._group_fd)\n",
        "",
        ("tests/crash/test_resets.py::test_what_was_done_stays_and_what_moved_is_in_the_journal",),
    ),
    Bug(
        "commit-counts-for-retention-before-it-is-on-disk",
        "2 D-16",
        "mk/groups/claim_directory.py",
        "            try:\n                files.fdatasync(fd)\n            finally:\n                files.close(fd)\n        return slot\n",
        "            files.close(fd)\n        return slot\n",
        ("tests/multiprocess/test_claims.py::test_a_commit_is_put_on_disk_before_records_go_by_it",),
    ),
    Bug(
        "names-above-a-log-directory-not-synced",
        "4 D-13",
        _DIRECTORY,
        "    fd = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)\n    try:\n        files.fsync(fd)\n",
        "    fd = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)\n    try:\n        pass\n",
        ("tests/crash/test_topics.py::test_a_directory_that_is_half_made_when_the_power_goes_is_made_by_the_next",),
    ),
    Bug(
        "identity-before-the-directories",
        "4 D-13",
        _DIRECTORY,
        """\
        # that is neither a log directory nor free to become one.
        files.fsync(fd)
""",
        """\
        # that is neither a log directory nor free to become one.
""",
        ("tests/crash/test_topics.py::test_a_directory_that_is_half_made_when_the_power_goes_is_made_by_the_next",),
    ),
    Bug(
        "readers-need-write-permission",
        "6 D-22",
        "mk/storage/partition_reader.py",
        "        self._files = PartitionFiles(topic, partition, os.O_RDONLY)\n",
        "        self._files = PartitionFiles(topic, partition, os.O_RDWR)\n",
        ("tests/cli/test_sharing.py::test_a_read_only_mount",),
    ),
    Bug(
        "reader-looks-once",
        "3 D-15",
        "mk/storage/partition_reader.py",
        "        for attempt in range(3):\n            if 0 <=",
        "        for attempt in range(1):\n            if 0 <=",
        (
            "tests/unit/storage/test_partition_reader.py::test_a_segment_that_a_listing_lacks_for_a_moment_is_not_taken_for_removed",
        ),
    ),
    # From afar.
    Bug(
        "options-for-ssh-as-a-host",
        "6 security",
        _ADDRESS,
        "    return 0 < len(host) <= _MAX_HOST and _HOST.issuperset(host) and host[0] in _LETTERS\n",
        "    return 0 < len(host) <= _MAX_HOST and _HOST.issuperset(host)\n",
        ("tests/transports/test_address.py::test_what_cannot_be_a_host_is_refused_and_nothing_is_run",),
    ),
    Bug(
        "part-of-a-name-is-enough-for-only",
        "6 security",
        _PERMISSIONS,
        "        return re.compile(text).fullmatch\n",
        "        return re.compile(text).match\n",
        ("tests/transports/test_hostile_clients.py::test_topics_that_do_not_match_are_not_there",),
    ),
    Bug(
        "what-may-be-pulled-may-be-pushed",
        "6 security",
        _PERMISSIONS,
        "any(match(topic) for kind in kinds for match in self._matchers.get(kind, ()))\n",
        "any(match(topic) for matchers in self._matchers.values() for match in matchers)\n",
        (
            "tests/unit/server/test_permissions.py::test_an_operation_is_for_the_topics_of_its_kind_also_among_those_that_are_open[open_reader]",
        ),
    ),
    Bug(
        "checksum-of-frames-not-checked",
        "5 D-19",
        "mk/transport/channel.py",
        '        if crc32c(frame, crc32c(header[:8])) != int.from_bytes(header[8:], "big"):\n',
        "        if False:\n",
        ("tests/transports/test_channel.py::test_what_is_no_frame_is_refused",),
    ),
    Bug(
        "frames-of-any-length",
        "5 security",
        "mk/transport/channel.py",
        "        if head_length > MAX_HEAD_BYTES or body_length > MAX_BODY_BYTES:\n            raise self.broken",
        "        if False:\n            raise self.broken",
        ("tests/transports/test_channel.py::test_what_is_no_frame_is_refused",),
    ),
)
