"""Bugs in who owns a partition for a group, in commits, and in what is committed."""

from __future__ import annotations

from tests.proof.bugs.bug import Bug

_CLAIM = "mk/groups/claim.py"
_SLOT = "mk/groups/claim_slot.py"
_MEMBERSHIP = "mk/groups/membership.py"
_COORDINATOR = "mk/groups/group_coordinator.py"
_CONSUMER = "mk/consumer/group_consumer.py"

_CLAIMS = (
    "tests/unit/groups/test_claim.py",
    "tests/unit/groups/test_interleaving.py",
    "tests/crash/test_claims.py",
)
_GROUP = ("tests/cli/test_consume_group.py", "tests/multiprocess/test_group_storm.py")

BUGS: tuple[Bug, ...] = (
    Bug(
        "commit-not-synced",
        "2 D-17",
        _CLAIM,
        """\
            files.pwrite(self._fd, slot.encode(), slot.position)
            files.fdatasync(self._fd)
        except OSError as error:
            # The kernel""",
        """\
            files.pwrite(self._fd, slot.encode(), slot.position)
        except OSError as error:
            # The kernel""",
        ("tests/unit/groups/test_claim.py::test_a_disk_that_refuses_a_sync_gets_a_new_generation",),
    ),
    Bug(
        "name-of-a-claim-not-synced-before-a-commit",
        "2 D-17",
        _CLAIM,
        "                files.fsync(self._claims.fd)\n                self._claims.named = opened\n",
        "                self._claims.named = opened\n",
        ("tests/crash/test_claims.py::test_a_commit_into_a_claim_whose_maker_was_killed_stands_after_a_power_cut",),
    ),
    Bug(
        "commit-does-not-look-for-a-successor",
        "2 D-17",
        _CLAIM,
        "        if self.is_fenced():\n            raise self._fenced()\n        self.committed = slot\n",
        "        self.committed = slot\n",
        ("tests/unit/groups/test_claim.py::test_whoever_is_fenced_is_told_and_its_commit_does_not_count",),
    ),
    Bug(
        "commit-looks-for-a-successor-before-it-writes",
        "2 D-17",
        _CLAIM,
        """\
            files.pwrite(self._fd, slot.encode(), slot.position)
            files.fdatasync(self._fd)
        except OSError as error:
            # The kernel may have dropped the page, and would tell the next sync of this file that all is well.
            self._move_on(slot, error)
            return
        # Behind the write, never before it: a fencer reads this file behind its link. Had we looked first, it could link
        # and read between our look and our write, and we would acknowledge what nobody goes on from.
        if self.is_fenced():
            raise self._fenced()
""",
        """\
            if self.is_fenced():
                raise self._fenced()
            files.pwrite(self._fd, slot.encode(), slot.position)
            files.fdatasync(self._fd)
        except OSError as error:
            # The kernel may have dropped the page, and would tell the next sync of this file that all is well.
            self._move_on(slot, error)
            return
""",
        ("tests/unit/groups/test_interleaving.py::test_a_member_that_is_fenced_between_any_two_steps_of_a_commit[1]",),
    ),
    Bug(
        "commit-written-over-the-newer-slot",
        "2 D-17",
        _SLOT,
        "        return SLOT_DISTANCE * (self.sequence & 1)\n",
        "        return SLOT_DISTANCE * (~self.sequence & 0)\n",
        ("tests/property/test_claim_slots.py::test_a_torn_commit_leaves_the_one_before_it_or_is_whole",),
    ),
    Bug(
        "checksum-of-a-commit-not-checked",
        "5 D-17",
        _SLOT,
        """\
        if int(slot[at + 5 : at + 13], 16) != crc32c(slot[:at]):
            return None
""",
        "",
        ("tests/property/test_claim_slots.py::test_a_torn_commit_leaves_the_one_before_it_or_is_whole",),
    ),
    Bug(
        "commit-tried-again-in-a-file-whose-sync-failed",
        "2 D-1",
        _CLAIM,
        "            self._move_on(slot, error)\n            return\n",
        "            files.fdatasync(self._fd)\n",
        ("tests/unit/groups/test_claim.py::test_a_disk_that_refuses_a_sync_gets_a_new_generation",),
    ),
    Bug(
        "commit-moved-on-to-a-file-that-is-not-synced",
        "2 D-1",
        _CLAIM,
        """\
                files.pwrite(fd, slot.encode(), slot.position)
                files.fdatasync(fd)
        except BaseException as failure:""",
        """\
                files.pwrite(fd, slot.encode(), slot.position)
        except BaseException as failure:""",
        (
            "tests/crash/test_claims.py::test_no_acknowledged_commit_is_rolled_back[sample-commits_that_the_disk_refuses]",
        ),
    ),
    Bug(
        "fencer-reads-before-it-links",
        "2 D-17",
        _CLAIM,
        """\
    fd = _create(claims, partition, generation, None)
    if fd is None:
        return None
    try:
        # Only now: what its owner acknowledges, it wrote before our file was there, and so before we read.
        committed = _committed(claims, partition, generations)
""",
        """\
    committed = _committed(claims, partition, generations)
    fd = _create(claims, partition, generation, None)
    if fd is None:
        return None
    try:
        pass
""",
        (
            "tests/unit/groups/test_interleaving.py::test_a_fencer_that_is_stopped_between_any_two_steps_while_the_owner_commits[3]",
        ),
    ),
    Bug(
        "fencing-by-rename",
        "2 D-17",
        _CLAIM,
        "                    files.link(temporary, name, src_dir_fd=claims.fd, dst_dir_fd=claims.fd)\n",
        "                    files.rename(temporary, name, src_dir_fd=claims.fd, dst_dir_fd=claims.fd)\n",
        ("tests/unit/groups/test_claim.py::test_of_two_who_fence_one_gets_it",),
    ),
    Bug(
        "fencer-goes-by-the-generation-before-alone",
        "2 D-17",
        _CLAIM,
        """\
    for generation in reversed(generations):
        slots = claims.slots(partition, generation)
        if slots:
            return slots[0]
    raise claims.damaged(partition)
""",
        """\
    slots = claims.slots(partition, generations[-1])
    return slots[0] if slots else _nothing_yet(claims, partition)
""",
        ("tests/unit/groups/test_claim.py::test_a_fencer_that_got_no_further_than_its_file_loses_nothing",),
    ),
    Bug(
        "damaged-claim-taken-for-a-new-group",
        "2 D-17",
        _CLAIM,
        "    raise claims.damaged(partition)\n",
        "    return _nothing_yet(claims, partition)\n",
        ("tests/unit/groups/test_claim.py::test_two_damaged_slots_are_never_a_new_group",),
    ),
    Bug(
        "fencer-does-not-say-where-the-group-stands",
        "2 D-17",
        _CLAIM,
        "    if claim.committed.generation != claim.generation:\n",
        "    if claim.committed.generation > claim.generation:\n",
        ("tests/unit/groups/test_claim.py::test_a_fencer_that_got_no_further_than_its_file_loses_nothing",),
    ),
    Bug(
        "taker-does-not-look-for-a-successor-under-the-lock",
        "2 D-17",
        _CLAIM,
        "            if claims.exists(partition, generation + 1) or os.fstat(fd).st_nlink == 0:\n",
        "            if os.fstat(fd).st_nlink == 0:\n",
        (
            "tests/unit/groups/test_handing_over.py::test_a_claim_that_was_fenced_and_let_go_between_look_and_lock_is_not_taken",
        ),
    ),
    Bug(
        "taker-does-not-see-that-the-claim-was-deleted",
        "2 D-17",
        _CLAIM,
        "            if claims.exists(partition, generation + 1) or os.fstat(fd).st_nlink == 0:\n",
        "            if claims.exists(partition, generation + 1):\n",
        (
            "tests/unit/groups/test_group_removal.py::test_who_was_about_to_lock_a_claim_that_was_deleted_takes_none_without_a_name",
        ),
    ),
    Bug(
        "first-claim-made-without-a-slot",
        "2 D-17",
        _CLAIM,
        "                files.pwrite(fd, new_claim(slot), 0)\n",
        "                files.pwrite(fd, new_claim(None), 0)\n",
        ("tests/unit/groups/test_claim.py::test_the_first_generation_says_that_nothing_is_committed",),
    ),
    Bug(
        "new-claim-not-synced-before-its-link",
        "2 D-17",
        _CLAIM,
        "                files.pwrite(fd, new_claim(slot), 0)\n                files.fdatasync(fd)\n",
        "                files.pwrite(fd, new_claim(slot), 0)\n",
        ("tests/unit/groups/test_claim.py::test_a_disk_that_refuses_everything_is_an_error_that_says_what_is_stored",),
    ),
    Bug(
        "name-of-a-new-claim-not-synced",
        "2 D-17",
        _CLAIM,
        """\
            if is_ours:
                files.fsync(claims.fd)
""",
        "",
        (
            "tests/crash/test_claims.py::test_no_acknowledged_commit_is_rolled_back[sample-commits_that_the_disk_refuses]",
        ),
    ),
    Bug(
        "new-claim-not-locked-before-its-link",
        "2 D-17",
        _CLAIM,
        "            is_swept = not try_acquire(fd)\n            if not is_swept:\n",
        "            is_swept = False\n            if not is_swept:\n",
        ("tests/unit/groups/test_claim.py::test_a_claim_that_is_held_is_nobody_elses_until_it_is_let_go",),
    ),
    Bug(
        "fork-keeps-claims",
        "2 D-10",
        _CLAIM,
        "os.register_at_fork(after_in_child=_let_go_in_child)\n",
        "",
        ("tests/unit/groups/test_claim.py::test_a_fork_holds_nothing_and_a_dead_parent_lets_go",),
    ),
    Bug(
        "records-handed-over-though-fenced",
        "2 D-17",
        _CONSUMER,
        """\
                if source.is_lost():
                    self._lose(source)
                    continue
                fetch""",
        """\
                fetch""",
        ("tests/unit/groups/test_handing_over.py::test_a_member_that_was_stopped_and_fenced_hands_over_nothing_more",),
    ),
    Bug(
        "look-at-whose-a-partition-is-counts-for-ever",
        "2 D-17",
        "mk/consumer/group_source.py",
        "        if now < self._proved_until:\n",
        "        if self._proved_until:\n",
        ("tests/unit/groups/test_handing_over.py::test_a_member_that_was_stopped_and_fenced_hands_over_nothing_more",),
    ),
    Bug(
        "commit-before-the-records-are-taken",
        "2 D-8",
        _CONSUMER,
        """\
                progress = True
                yield fetch
""",
        """\
                progress = True
                source.taken_offset = fetch[-1].next_offset
                source.taken_epoch = fetch[-1].batch.leader_epoch
                self._commit(source)
                yield fetch
""",
        (
            "tests/unit/groups/test_handing_over.py::test_what_was_handed_over_is_committed_when_it_is_taken_and_not_before",
        ),
    ),
    Bug(
        "partition-let-go-of-without-a-commit",
        "2 D-20",
        _CONSUMER,
        "            self._commit(source)\n            self._forget(source)\n        if self._coord",
        "            self._forget(source)\n        if self._coord",
        (
            "tests/unit/groups/test_handing_over.py::test_what_was_taken_of_a_partition_is_committed_before_it_is_let_go_of",
        ),
    ),
    Bug(
        "partition-let-go-of-before-its-records-are-taken",
        "2 D-20",
        _CONSUMER,
        """\
        if source is not None:
            self._delivery.finish(source.topic.name, source.reader.partition)
            self._commit(source)
""",
        """\
        if source is not None:
            self._commit(source)
""",
        ("tests/multiprocess/test_exec_in_groups.py::test_a_partition_that_changes_hands_is_gone_on_with[1]",),
    ),
    Bug(
        "no-commit-at-the-end",
        "2 D-20",
        _CONSUMER,
        "                    self._commit_taken()  # Also what was taken by then when a signal ends the wait.\n",
        "                    pass\n",
        ("tests/cli/test_consume_group.py::test_a_group_reads_everything_once_and_goes_on_where_it_stands",),
    ),
    Bug(
        "claims-kept-over-control-z",
        "2 D-20",
        _CONSUMER,
        "        coordinator.leave()\n        if self.is_suspending",
        "        if self.is_suspending",
        ("tests/cli/test_consume_group.py::test_control_z_lets_go_of_the_partitions_and_going_on_takes_them_up",),
    ),
    Bug(
        "cut-log-jumped-over",
        "2 D-16",
        _CONSUMER,
        "        return slot.offset if stands == slot.offset else self._truncated(source, slot.offset, stands)\n",
        "        return slot.offset\n",
        (
            "tests/cli/test_consume_group.py::test_a_log_that_is_shorter_than_what_was_committed_is_named_and_never_jumped[back-0]",
        ),
    ),
    Bug(
        "topic-made-anew-not-noticed",
        "2 D-16",
        _CONSUMER,
        "            if earlier is not None:\n",
        "            if False:\n",
        ("tests/cli/test_consume_group.py::test_a_topic_made_anew_is_read_from_its_start_and_that_is_said",),
    ),
    Bug(
        "removed-records-passed-over-silently",
        "5 D-14",
        _CONSUMER,
        "                self._report(source, [(first, reader.log_start_offset - 1)])\n                first =",
        "                first =",
        ("tests/cli/test_consume_group.py::test_records_that_retention_removed_before_the_group_read_them_are_named",),
    ),
    Bug(
        "commit-beyond-the-end-believed",
        "2 D-16",
        "mk/groups/offset_store.py",
        "    return min(_group_offset(group, slot).in_log(reader.end_of_epoch), reader.high_watermark)\n",
        "    return _group_offset(group, slot).in_log(reader.end_of_epoch)\n",
        (
            "tests/cli/test_consume_group.py::test_a_log_that_is_shorter_than_what_was_committed_is_named_and_never_jumped[back-0]",
        ),
    ),
    Bug(
        "heartbeat-never-moves",
        "2 D-20",
        _MEMBERSHIP,
        "                counter += 1\n",
        "",
        ("tests/unit/groups/test_silence.py::test_who_moves_is_not_silent_and_who_lives_moves",),
    ),
    Bug(
        "own-pause-counts-as-silence-of-others",
        "2 D-20",
        _MEMBERSHIP,
        "            passed = min(now - before, 2 * tick)\n",
        "            passed = now - before\n",
        ("tests/unit/groups/test_silence.py::test_a_pause_of_whoever_looks_is_no_silence_of_the_others",),
    ),
    Bug(
        "silence-timed-by-the-wall-clock",
        "2 D-20",
        _MEMBERSHIP,
        "from time import monotonic\n",
        "from time import time as monotonic\n",
        ("tests/unit/groups/test_silence.py::test_silence_is_timed_by_a_clock_that_nobody_sets",),
    ),
    Bug(
        "stopped-members-never-fenced",
        "2 D-20",
        _COORDINATOR,
        "        if owner in self._membership.silent:\n            return fence(claims, partition, listed)\n",
        "        if owner in self._membership.silent:\n            return None\n",
        ("tests/cli/test_consume_group.py::test_a_stopped_member_is_fenced_and_says_so_when_it_goes_on",),
    ),
    Bug(
        "live-members-fenced",
        "2 D-20",
        _COORDINATOR,
        "        if owner in self._membership.members:\n            self._unowned_since.pop(key, None)\n            return None\n",
        "        if owner in self._membership.members:\n            return fence(claims, partition)\n",
        (
            "tests/unit/groups/test_handing_over.py::test_a_partition_of_a_member_that_lives_is_waited_for_until_it_lets_go",
        ),
    ),
    Bug(
        "file-of-a-member-removed-without-its-lock",
        "2 D-20",
        _MEMBERSHIP,
        "        if try_acquire(fd):\n            _unlink_quietly(name, directory_fd)\n",
        "        _unlink_quietly(name, directory_fd)\n",
        ("tests/unit/groups/test_group_removal.py::test_a_member_that_has_only_just_joined_keeps_its_group",),
    ),
    Bug(
        "two-that-look-take-each-other-for-the-holder",
        "2 D-20",
        "mk/storage/locks.py",
        "        flock(fd, LOCK_SH | LOCK_NB)\n",
        "        flock(fd, LOCK_EX | LOCK_NB)\n",
        (
            "tests/unit/storage/test_locks.py::test_two_who_ask_at_once_whether_a_lock_is_held_do_not_take_each_other_for_its_holder",
        ),
    ),
    Bug(
        "fork-keeps-a-member-alive",
        "2 D-10",
        _MEMBERSHIP,
        "os.register_at_fork(after_in_child=_let_go_in_child)\n",
        "",
        ("tests/unit/groups/test_silence.py::test_a_child_of_a_fork_does_not_keep_a_member_alive_that_is_dead",),
    ),
    Bug(
        "one-member-gets-all-that-is-free",
        "2 D-20",
        "mk/groups/assignor.py",
        "    while path := _way_down(candidates, owned):\n",
        "    while path := None and _way_down(candidates, owned):\n",
        ("tests/property/test_assignor.py::test_members_that_may_own_the_same_get_the_same_to_within_one",),
    ),
    Bug(
        "assignment-moves-what-need-not-move",
        "2 D-20",
        "mk/groups/assignor.py",
        "        if owner in candidates[key]:\n",
        "        if owner == min(candidates[key], default=None):\n",
        ("tests/property/test_assignor.py::test_members_that_may_own_the_same_get_the_same_to_within_one",),
    ),
    Bug(
        "reset-does-not-look-for-members-behind-its-locks",
        "2 D-17",
        "mk/groups/offset_reset.py",
        """\
        # Only now: whoever joined before we had all claims is seen here, and who joins later gets none before we are done.
        check_is_empty(self._directory, self._group)
""",
        "",
        (
            "tests/unit/groups/test_handing_over.py::test_who_joins_while_claims_are_locked_for_a_reset_keeps_it_from_being_done",
        ),
    ),
    Bug(
        "reset-does-not-compare-with-its-plan",
        "2 D-17",
        "mk/groups/offset_reset.py",
        "            if committed.offset != change.before:\n",
        "            if committed.offset < -1:\n",
        (
            "tests/unit/groups/test_handing_over.py::test_a_reset_is_not_done_where_the_group_stands_elsewhere_than_its_plan_says",
        ),
    ),
    Bug(
        "reset-not-written-down-first",
        "2 D-17",
        "mk/groups/offset_reset.py",
        """\
        number = self._journal.append(kind, offsets, undoes=undoes)
        for done, (offset, claim) in enumerate(zip(offsets, self._claims)):
            try:
                claim.commit(offset.after, offset.after_epoch)
""",
        """\
        number = 0
        for done, (offset, claim) in enumerate(zip(offsets, self._claims)):
            try:
                claim.commit(offset.after, offset.after_epoch)
                if done == len(offsets) - 1:
                    number = self._journal.append(kind, offsets, undoes=undoes)
""",
        ("tests/crash/test_resets.py::test_what_was_done_stays_and_what_moved_is_in_the_journal[sample-resets]",),
    ),
    Bug(
        "group-deleted-though-somebody-has-just-joined",
        "2 D-17",
        "mk/groups/group_removal.py",
        """\
        # Only now: whoever joined before we had all claims is seen here, and who joins later gets none.
        check_is_empty(directory, group)
""",
        "",
        ("tests/unit/groups/test_handing_over.py::test_who_joins_while_claims_are_locked_for_a_deletion_keeps_them",),
    ),
    Bug(
        "young-generations-of-claims-removed",
        "2 D-17",
        "mk/groups/group_removal.py",
        "                is_old = os.fstat(fd).st_mtime < time.time() - MIN_AGE_SECONDS\n",
        "                is_old = True\n",
        ("tests/unit/groups/test_group_removal.py::test_young_ones_stay_with_all_above_them",),
    ),
    Bug(
        "held-generations-of-claims-removed",
        "2 D-17",
        "mk/groups/group_removal.py",
        "                if not is_old or (remove and not try_acquire(fd)):\n",
        "                if not is_old:\n",
        ("tests/unit/groups/test_group_removal.py::test_nothing_goes_above_one_that_is_still_held",),
    ),
    Bug(
        "output-counts-as-taken-when-it-is-written",
        "2 D-8",
        "mk/cli/group_output.py",
        "        unread = (self._unread() or 0) if self._is_pipe else 0\n",
        "        unread = 0\n",
        ("tests/cli/test_consume_group.py::test_what_is_still_in_the_pipe_is_not_committed",),
    ),
    Bug(
        "last-read-of-a-reader-that-went-away-counts-as-taken",
        "2 D-8",
        "mk/cli/group_output.py",
        "            if end > taken or (is_gone and not alone and taken - end < _LONGEST_READ):\n",
        "            if end > taken:\n",
        (
            "tests/cli/test_consume_group.py::test_a_reader_that_goes_away_in_the_middle_of_much_repeats_and_never_skips[150-json]",
        ),
    ),
)
