"""Bugs in copies: what is sent, what is taken, what is cut off, and who leads."""

from __future__ import annotations

from tests.proof.bugs.bug import Bug

_FOLLOWER = "mk/storage/follower_log.py"
_PROOF = "mk/storage/copy_proof.py"
_CUT = "mk/storage/log_truncation.py"
_RECONCILE = "mk/replication/reconciliation.py"
_EPOCHS = "mk/storage/leader_epochs.py"
_PROMOTION = "mk/replication/promotion.py"

_FOLLOW = (
    "tests/unit/storage/test_follower_log.py",
    "tests/crash/test_following.py",
    "tests/property/test_follower_machine.py",
)
_HISTORIES = (
    "tests/property/test_reconciliation.py",
    "tests/property/test_replication_histories.py",
)

BUGS: tuple[Bug, ...] = (
    Bug(
        "copies-beyond-the-high-watermark-sent",
        "3 D-19",
        "mk/replication/directory_replica.py",
        "    image.next_offset = reader.high_watermark\n",
        "    image.next_offset = reader.state.written.offset\n",
        ("tests/unit/storage/test_follower_steps.py::test_a_copy_passes_on_only_what_it_has_on_disk",),
    ),
    Bug(
        "copies-seen-before-they-are-on-disk",
        "3 D-19",
        _FOLLOWER,
        "            new.written = proof.end\n",
        "            new.written = proof.end\n            new.high_watermark = proof.end.offset\n",
        ("tests/unit/storage/test_follower_log.py::test_readers_see_copies_when_they_are_on_disk",),
    ),
    Bug(
        "copies-not-synced",
        "1 D-19",
        _FOLLOWER,
        """\
        if state.durable.offset == state.high_watermark == state.written.offset:
            return state
        return self._make_durable(state)
""",
        """\
        if state.durable.offset == state.high_watermark == state.written.offset:
            return state
        state = state.copy()
        state.durable = state.written
        state.high_watermark = state.written.offset
        self._publish(state)
        return state
""",
        ("tests/unit/storage/test_follower_log.py::test_a_refused_sync_costs_nothing_that_was_seen",),
    ),
    Bug(
        "copies-not-proved-by-their-checksum",
        "5 D-19",
        _PROOF,
        "            if crc32c(payload) != batch.payload_crc:\n",
        "            if False:\n",
        ("tests/unit/storage/test_follower_log.py::test_every_flipped_bit_of_a_batch_is_found",),
    ),
    Bug(
        "copies-not-proved-by-their-chain",
        "5 D-19",
        _PROOF,
        "            if chain != UNKNOWN_CHAIN and batch.chain != batch.chain_after(chain) and not batch.attributes & COMPACTED:\n",
        "            if False:\n",
        ("tests/unit/storage/test_follower_log.py::test_a_batch_that_does_not_prove_itself_is_refused_whole",),
    ),
    Bug(
        "copies-not-proved-by-their-epoch",
        "5 D-19",
        _PROOF,
        "            if number < 0 or batch.leader_epoch != entries[number].epoch:\n",
        "            if number < 0:\n",
        ("tests/unit/storage/test_follower_log.py::test_a_batch_that_does_not_prove_itself_is_refused_whole",),
    ),
    Bug(
        "copies-with-a-gap-accepted",
        "5 D-19",
        _PROOF,
        "            if batch is None or batch.base_offset != offset:\n",
        "            if batch is None or batch.base_offset < offset:\n",
        ("tests/unit/storage/test_follower_log.py::test_a_batch_that_does_not_prove_itself_is_refused_whole",),
    ),
    Bug(
        "batch-that-goes-on-into-the-next-epoch-accepted",
        "5 D-19",
        _PROOF,
        "            if number + 1 < len(entries) and next_offset > entries[number + 1].first_offset:\n",
        "            if False:\n",
        ("tests/unit/storage/test_follower_log.py::test_a_batch_that_goes_on_into_the_next_epoch_is_refused",),
    ),
    Bug(
        "copies-of-input-that-was-stored-accepted",
        "1 D-11",
        _PROOF,
        "        if batch.first_sequence <= self.last_sequences.get(batch.producer_id, known):\n",
        "        if False:\n",
        ("tests/unit/storage/test_follower_log.py::test_input_that_was_stored_before_is_refused",),
    ),
    Bug(
        "leader-takes-copies",
        "1 D-18",
        _FOLLOWER,
        """\
        if self._leads():
            raise self._stale("is led by this directory", "it was promoted, or never was another one's copy")
""",
        "        pass\n",
        ("tests/unit/storage/test_follower_log.py::test_a_directory_that_leads_takes_no_copies",),
    ),
    Bug(
        "copy-with-a-newer-leader-follows-an-older-one",
        "1 D-18",
        _FOLLOWER,
        "        if latest.epoch < own.latest.epoch:\n            raise",
        "        if False:\n            raise",
        ("tests/unit/storage/test_follower_log.py::test_a_source_with_an_older_leader_is_not_followed",),
    ),
    Bug(
        "epoch-led-by-two-not-noticed",
        "1 D-18",
        _FOLLOWER,
        "            if leaders.get(entry.epoch, entry.leader_id) != entry.leader_id:\n",
        "            if False:\n",
        ("tests/unit/storage/test_follower_log.py::test_an_epoch_that_two_directories_led_is_divergence",),
    ),
    Bug(
        "chain-in-front-not-compared-under-the-lock",
        "1 D-19",
        _FOLLOWER,
        "            if UNKNOWN_CHAIN not in (chain, own_chain) and chain != own_chain:\n",
        "            if False:\n",
        ("tests/unit/storage/test_follower_log.py::test_other_records_below_the_same_epochs_are_found",),
    ),
    Bug(
        "prefix-not-decided-again-under-the-lock",
        "1 D-19",
        _FOLLOWER,
        "            if common != prefix_offset and common < end:\n",
        "            if False:\n",
        ("tests/unit/storage/test_follower_log.py::test_a_log_without_a_newer_leader_is_never_cut",),
    ),
    Bug(
        "cut-without-a-newer-leader",
        "1 D-19",
        _FOLLOWER,
        "        if epochs.latest.epoch <= own.epoch_before(end):\n",
        "        if epochs.latest.epoch < own.epoch_before(end):\n",
        ("tests/unit/storage/test_follower_log.py::test_a_log_without_a_newer_leader_is_never_cut",),
    ),
    Bug(
        "copy-ahead-of-its-source-cut",
        "1 D-19",
        _FOLLOWER,
        "        if own.common_prefix(end, epochs, end) == end:\n",
        "        if False:\n",
        ("tests/unit/storage/test_follower_log.py::test_a_source_that_has_not_got_all_yet_cuts_nothing",),
    ),
    Bug(
        "cut-for-a-recovery-of-what-was-on-disk",
        "1 D-19",
        _FOLLOWER,
        "        if epochs.latest.epoch >> 32 == own.epoch_before(end) >> 32 and self._was_on_disk(offset):\n",
        "        if False:\n",
        ("tests/unit/storage/test_restored_leader.py::test_what_it_had_on_its_disk_is_not_cut_off_for_a_recovery",),
    ),
    Bug(
        "old-leader-not-cut",
        "3 D-19",
        _FOLLOWER,
        "            if common < end:\n                self._check_cut",
        "            if common < end - 1000:\n                self._check_cut",
        ("tests/unit/storage/test_follower_log.py::test_what_an_old_leader_had_written_is_cut_off_and_kept",),
    ),
    Bug(
        "leader-not-fenced-before-it-is-cut",
        "1 D-18",
        _FOLLOWER,
        """\
                state = self._make_all_durable(state)
                if self._leads():
                    state = self._adopt(state, own.fenced(end, epochs.latest))
                epoch = own""",
        """\
                state = self._make_all_durable(state)
                epoch = own""",
        ("tests/crash/test_following.py::test_broken_off_anywhere_the_next_run_ends_it[cut]",),
    ),
    Bug(
        "epochs-adopted-without-a-mark",
        "1 D-18",
        _FOLLOWER,
        """\
        marked.syncing = 1
        write_state(self._files.state_fd, marked)
        write_epochs(self._files.fd, epochs)
""",
        """\
        write_epochs(self._files.fd, epochs)
""",
        ("tests/unit/storage/test_follower_log.py::test_a_producer_that_comes_while_a_fencing_is_killed_is_refused",),
    ),
    Bug(
        "promoted-without-a-new-epoch",
        "1 D-18",
        _FOLLOWER,
        "                epoch = ((self._epochs.latest.epoch >> 32) + 1) << 32\n",
        "                epoch = self._epochs.latest.epoch + 1\n",
        ("tests/unit/storage/test_follower_log.py::test_promotion_counts_in_the_upper_half",),
    ),
    Bug(
        "promoted-with-records-that-are-not-on-disk",
        "1 D-18",
        _FOLLOWER,
        """\
            if not self._leads():
                state = self._make_all_durable(state)
                end = state.written
""",
        """\
            if not self._leads():
                end = state.written
""",
        ("tests/unit/storage/test_follower_steps.py::test_a_copy_that_is_promoted_has_all_of_it_on_disk_and_shows_it",),
    ),
    Bug(
        "follower-begins-no-segment-where-its-source-does",
        "3 D-19",
        _FOLLOWER,
        "            rolls = begins_segment and state.segment != base_offset\n",
        "            rolls = False\n",
        ("tests/unit/storage/test_follower_log.py::test_a_copy_has_the_same_files_as_its_source",),
    ),
    Bug(
        "log-of-a-copy-begins-behind-its-end",
        "1 D-19",
        _FOLLOWER,
        "                start = max(state.log_start_offset, min(offset, state.durable.offset))\n",
        "                start = max(state.log_start_offset, offset)\n",
        ("tests/unit/storage/test_follower_log.py::test_the_log_begins_where_the_source_does",),
    ),
    Bug(
        "names-not-synced-before-copies",
        "1 D-19",
        _FOLLOWER,
        "                files.fsync(self._files.fd)\n                self._names_are_synced = True\n",
        "                self._names_are_synced = True\n",
        ("tests/crash/test_following.py::test_what_is_copied_behind_a_cut_that_a_kill_broke_off_stays",),
    ),
    # Cutting.
    Bug(
        "cut-before-a-record-of-it",
        "5 D-19",
        _CUT,
        "    files.replace_file(TRUNCATION_FILE, record.encode(), dir_fd=partition.fd)\n    return finish",
        "    return finish",
        ("tests/unit/storage/test_follower_log.py::test_what_an_old_leader_had_written_is_cut_off_and_kept",),
    ),
    Bug(
        "what-is-cut-not-kept",
        "5 D-19",
        _CUT,
        "        if stop > end.position:\n            _copy_once",
        "        if stop > end.position + (1 << 20):\n            _copy_once",
        ("tests/crash/test_following.py::test_broken_off_anywhere_the_next_run_ends_it[cut]",),
    ),
    Bug(
        "segments-that-are-cut-not-kept",
        "5 D-19",
        _CUT,
        "        keep_segment(partition, base, name)\n",
        "        pass\n",
        ("tests/unit/storage/test_follower_log.py::test_what_an_old_leader_had_written_is_cut_off_and_kept",),
    ),
    Bug(
        "record-of-a-cut-removed-before-it-is-done",
        "5 D-19",
        _CUT,
        """\
    files.fsync(partition.fd)
    files.unlink(TRUNCATION_FILE, dir_fd=partition.fd)
    files.fsync(partition.fd)
    return new
""",
        """\
    files.unlink(TRUNCATION_FILE, dir_fd=partition.fd)
    files.fsync(partition.fd)
    return new
""",
        ("tests/crash/test_following.py::test_a_cut_is_on_disk_when_it_is_done_and_half_done_it_is_finished",),
    ),
    Bug(
        "end-of-a-cut-not-synced",
        "5 D-19",
        _CUT,
        "    files.unlink(TRUNCATION_FILE, dir_fd=partition.fd)\n    files.fsync(partition.fd)\n",
        "    files.unlink(TRUNCATION_FILE, dir_fd=partition.fd)\n",
        ("tests/crash/test_following.py::test_a_cut_is_on_disk_when_it_is_done_and_half_done_it_is_finished",),
    ),
    Bug(
        "cut-segment-not-synced",
        "5 D-19",
        _CUT,
        """\
                files.truncate(fd, end.position)
            # Also if nothing is left to cut: who did it may have been killed here, and with the power it would all be back.
            files.fdatasync(fd)
""",
        """\
                files.truncate(fd, end.position)
""",
        ("tests/crash/test_following.py::test_a_cut_is_on_disk_when_it_is_done_and_half_done_it_is_finished",),
    ),
    Bug(
        "cut-in-a-file-with-a-second-name",
        "5 D-19",
        _CUT,
        "        if status.st_nlink > 1:\n",
        "        if status.st_nlink > 2:\n",
        ("tests/unit/storage/test_follower_log.py::test_a_copy_made_of_hard_links_keeps_what_is_cut",),
    ),
    Bug(
        "cuts-not-counted",
        "3 D-19",
        _CUT,
        "    new.cuts = state.cuts + 1\n",
        "",
        ("tests/unit/storage/test_follower_log.py::test_a_reader_is_told_what_it_has_read_and_is_no_longer_there",),
    ),
    Bug(
        "cut-that-was-broken-off-not-finished",
        "5 D-19",
        _FOLLOWER,
        "        if record is not None:\n            state = log_truncation.finish(files_, record, state)\n            self._forget(record.epochs)\n",
        "",
        ("tests/crash/test_following.py::test_broken_off_anywhere_the_next_run_ends_it[cut]",),
    ),
    # What is decided.
    Bug(
        "common-prefix-over-different-epochs",
        "1 D-19",
        _EPOCHS,
        "            if own != theirs:\n                break\n",
        "            if own > theirs:\n                break\n",
        ("tests/unit/storage/test_leader_epochs.py::test_two_logs_are_the_same_as_far_as_each_epoch_goes_in_both",),
    ),
    Bug(
        "fencing-forgets-epochs",
        "1 D-18",
        _EPOCHS,
        "        kept = [entry for entry in self.entries if entry.first_offset < end_offset]\n        return LeaderEpochs([*kept, EpochEntry(latest.epoch",
        "        kept = self.entries[-1:]\n        return LeaderEpochs([*kept, EpochEntry(latest.epoch",
        ("tests/unit/storage/test_follower_log.py::test_promotion_counts_in_the_upper_half",),
    ),
    Bug(
        "checksum-of-epochs-not-checked",
        "5 D-18",
        _EPOCHS,
        "            if int(crc, 16) != crc32c(text) or (entries and entry.epoch <= entries[-1].epoch):\n",
        "            if entries and entry.epoch <= entries[-1].epoch:\n",
        ("tests/unit/storage/test_leader_epochs.py::test_every_flipped_bit_is_noticed_or_harmless",),
    ),
    Bug(
        "hole-passed-over",
        "1 D-19",
        _RECONCILE,
        "    if accept_gap:\n",
        "    if True:\n",
        ("tests/cli/test_replicate.py::test_a_hole_is_refused_and_accepted_on_request",),
    ),
    Bug(
        "stale-source-followed",
        "1 D-18",
        _RECONCILE,
        "    if own_latest.epoch > latest.epoch or (own_latest.epoch == latest.epoch and leads):\n",
        "    if own_latest.epoch == latest.epoch and leads:\n",
        ("tests/property/test_reconciliation.py::test_histories_of_three_directories",),
    ),
    Bug(
        "chains-not-compared-by-who-decides",
        "1 D-19",
        _RECONCILE,
        "    if UNKNOWN_CHAIN not in (source_chain, target_chain) and source_chain != target_chain:\n",
        "    if False:\n",
        ("tests/property/test_reconciliation.py::test_other_records_in_front_of_the_same_offset_are_refused",),
    ),
    Bug(
        "copy-behind-dropped-tombstones-goes-on",
        "3 D-19",
        _RECONCILE,
        "    if has_records and prefix < source.image.tombstones_dropped_to:\n",
        "    if False:\n",
        (
            "tests/property/test_reconciliation.py::test_a_copy_behind_dropped_tombstones_or_inside_a_covering_batch_is_fetched_anew",
        ),
    ),
    Bug(
        "copy-cleaned-by-what-is-cut-goes-on",
        "3 D-19",
        _RECONCILE,
        "    if has_records and prefix < min(end, target.image.cleaned_to):\n",
        "    if False:\n",
        (
            "tests/property/test_compacted_histories.py::test_no_last_value_is_lost_and_no_deleted_key_comes_back[sample]",
        ),
    ),
    Bug(
        "unrecovered-leader-followed",
        "1 D-19",
        _RECONCILE,
        "    if leads and not source.image.is_recovered:\n",
        "    if False:\n",
        (
            "tests/unit/replication/test_power_loss_of_a_leader.py::test_a_follower_of_a_leader_that_was_not_recovered_yet_is_told_to_try_again",
        ),
    ),
    # Failing over.
    Bug(
        "promoted-though-records-are-missing",
        "1 D-18",
        _PROMOTION,
        '        behind = [row for row in self.to_do if row["behind"]]\n',
        '        behind = [row for row in self.to_do if row["behind"] > 1000]\n',
        ("tests/cli/test_leadership.py::test_promote_insists_on_force_where_records_are_known_to_be_missing",),
    ),
    Bug(
        "groups-moved-back-by-a-promotion",
        "2 D-16",
        _PROMOTION,
        '            "new_offset": there if here is None or here < there else own,\n',
        '            "new_offset": there,\n',
        ("tests/unit/replication/test_promotion.py::test_groups_go_on_where_they_stood_and_none_is_moved_back",),
    ),
    Bug(
        "offsets-of-groups-forgotten-before-they-are-committed",
        "2 D-16",
        _PROMOTION,
        "                if changes:\n                    change_offsets",
        '                forget_offsets(self._directory, group, [(row["topic_id"], row["partition"]) for row in rows])\n'
        "                if changes:\n                    change_offsets",
        ("tests/unit/replication/test_promotion.py::test_a_group_with_members_is_left_and_the_next_run_moves_it",),
    ),
)
