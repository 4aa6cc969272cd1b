"""Bugs in what proves a batch, and in how records are read."""

from __future__ import annotations

from tests.proof.bugs.bug import Bug

_BATCH = "mk/records/record_batch.py"
_CODECS = "mk/records/codecs.py"
_READER = "mk/storage/partition_reader.py"

_READING = ("tests/unit/storage/test_partition_reader.py", "tests/cli/test_damage.py")

BUGS: tuple[Bug, ...] = (
    Bug(
        "readers-up-to-the-written-end-whatever-was-published",
        "3 D-5",
        _READER,
        "            state = again\n        return state.high_watermark\n",
        "            state = again\n        return state.written.offset\n",
        ("tests/unit/storage/test_follower_log.py::test_readers_see_copies_when_they_are_on_disk",),
    ),
    Bug(
        "high-watermark-of-another-boot-believed",
        "3 D-5",
        _READER,
        "        while state.boot_id != boot_id():\n",
        "        while False:\n",
        (
            "tests/unit/storage/test_partition_reader.py::test_a_lock_free_reader_after_a_reboot_sees_all_that_is_whole_and_then_what_a_writer_adds",
        ),
    ),
    Bug(
        "state-not-read-again-behind-a-validation",
        "3 D-5",
        _READER,
        "            if again.sequence == state.sequence:\n                self._validated",
        "            if True:\n                self._validated",
        (
            "tests/unit/storage/test_partition_reader.py::test_a_reader_that_follows_the_batches_while_a_writer_recovers_goes_by_what_that_one_publishes",
        ),
    ),
    Bug(
        "high-watermark-goes-back",
        "3 D-5",
        _READER,
        "            self.high_watermark = max(self.high_watermark, high_watermark)\n",
        "            self.high_watermark = high_watermark\n",
        (
            "tests/unit/storage/test_partition_reader.py::test_a_reader_whose_segment_was_replaced_does_not_read_what_was_given_up",
        ),
    ),
    Bug(
        "payload-checksum-not-checked-by-readers",
        "5 D-3",
        _READER,
        "            if not batch.check_payload(data[at + HEADER_SIZE : at + size]):\n",
        "            batch.check_payload(data[at + HEADER_SIZE : at + size])\n            if False:\n",
        (
            "tests/unit/storage/test_partition_reader.py::test_damage_below_the_high_watermark_is_named_with_file_position_and_offset[payload]",
        ),
    ),
    Bug(
        "batch-at-a-wrong-offset-given-out",
        "5 D-3",
        _READER,
        "            if batch.base_offset != offset and not first:\n",
        "            if False:\n",
        (
            "tests/unit/storage/test_partition_reader.py::test_a_batch_that_belongs_elsewhere_is_damage_and_not_given_out",
        ),
    ),
    Bug(
        "index-trusted",
        "5 D-13",
        _READER,
        "                if batch is None or batch.base_offset != expected:\n                    break\n                if batch.next",
        "                if batch is None:\n                    break\n                if batch.next",
        (
            "tests/unit/storage/test_partition_reader.py::test_a_hint_to_a_batch_of_another_offset_only_costs_a_longer_walk",
        ),
    ),
    Bug(
        "hint-that-leads-nowhere-taken-for-the-end",
        "5 D-13",
        _READER,
        "        for relative, position in (start, (0, 0)):\n",
        "        for relative, position in (start,):\n",
        ("tests/unit/storage/test_partition_reader.py::test_hints_that_lead_nowhere_only_cost_a_longer_walk",),
    ),
    Bug(
        "damage-passed-over-by-readers",
        "5 D-15",
        _READER,
        """\
        base = self._floor(self.next_offset)
        self._refuse_newer(base, position)
        raise CorruptBatchError(""",
        """\
        base = self._floor(self.next_offset)
        self._refuse_newer(base, position)
        behind = self._readable_from(base, position, self.next_offset)
        if behind >= 0:
            self.next_offset = behind
            return self.fetch()
        raise CorruptBatchError(""",
        (
            "tests/unit/storage/test_partition_reader.py::test_damage_below_the_high_watermark_is_named_with_file_position_and_offset[payload]",
        ),
    ),
    Bug(
        "removed-records-not-told-of",
        "5 D-14",
        _READER,
        "        self.skipped.append((self.next_offset, offset - 1))\n",
        "",
        ("tests/cli/test_damage.py::test_a_missing_first_segment_is_as_if_removed_by_retention",),
    ),
    Bug(
        "given-up-segment-read-on",
        "3 D-14",
        _READER,
        """\
                # The open file may be one that was given up: what stands there at our next offset is no longer the log.
                self._close_segment()
""",
        "",
        (
            "tests/unit/storage/test_partition_reader.py::test_a_reader_whose_segment_was_replaced_does_not_read_what_was_given_up",
        ),
    ),
    Bug(
        "reader-not-told-of-a-cut",
        "3 D-6",
        _READER,
        "                if self.next_offset:\n                    self._refuse_truncation(epoch, cuts, state.cut_offset)\n",
        "",
        (
            "tests/unit/storage/test_partition_reader.py::test_a_following_reader_is_told_that_what_it_read_was_cut_even_if_the_log_has_grown_beyond_again",
        ),
    ),
    Bug(
        "bytes-behind-the-end-of-a-sealed-segment-read",
        "3 D-14",
        _READER,
        "            if offset >= self._segment_end >= 0:\n",
        "            if False:\n",
        ("tests/unit/storage/test_partition_reader.py::test_bytes_behind_the_next_segments_base_are_ignored",),
    ),
    Bug(
        "segment-not-found-in-a-listing-taken-for-removed",
        "3 D-14",
        _READER,
        "            if base > offset and self.log_start_offset <= offset and looks < _LOOKS:\n",
        "            if False:\n",
        (
            "tests/unit/storage/test_partition_reader.py::test_a_segment_that_a_listing_lacks_for_a_moment_is_not_taken_for_removed",
        ),
    ),
    Bug(
        "older-state-believed-by-readers",
        "3 D-5",
        _READER,
        "        if state.sequence >= self._sequence:\n",
        "        if True:\n",
        ("tests/unit/storage/test_partition_reader.py::test_a_state_older_than_one_that_was_seen_is_not_believed",),
    ),
    # The header.
    Bug(
        "header-checksum-not-checked",
        "5 D-3",
        _BATCH,
        """\
    if buffer[position : position + len(MAGIC)] != MAGIC or _CRC.unpack_from(buffer, end)[0] != crc32c(
        buffer[position:end]
    ):
        return None
""",
        """\
    if buffer[position : position + len(MAGIC)] != MAGIC:
        return None
""",
        ("tests/property/test_record_batch.py::test_every_flipped_bit_of_a_batch_is_noticed",),
    ),
    Bug(
        "header-checksum-without-the-reserved-bytes",
        "5 D-3",
        _BATCH,
        "        return fields + _CRC.pack(crc32c(fields))\n",
        "        return fields + _CRC.pack(crc32c(fields[:100]))\n",
        ("tests/docs/test_format_page.py::test_each_field_of_the_header_is_where_the_page_says",),
    ),
    Bug(
        "payload-longer-than-any-accepted",
        "5 security",
        _BATCH,
        "        batch.payload_length <= MAX_RAW_BYTES\n        and 0 <=",
        "        0 <=",
        ("tests/unit/records/test_record_batch.py::test_a_payload_longer_than_any_is_no_batch[compressed]",),
    ),
    Bug(
        "more-records-than-offsets-accepted",
        "5 D-3",
        _BATCH,
        "        or batch.record_count > covers\n",
        "",
        ("tests/docs/test_format_page.py::test_a_header_that_the_page_calls_invalid_is_refused",),
    ),
    Bug(
        "more-records-than-bytes-accepted",
        "5 security",
        _BATCH,
        "        or batch.record_count > max(batch.raw_length, 1)\n",
        "",
        ("tests/docs/test_format_page.py::test_a_header_that_the_page_calls_invalid_is_refused",),
    ),
    Bug(
        "another-number-of-lines-than-announced-accepted",
        "5 D-3",
        _BATCH,
        '        if len(raw) <= start or raw[-1:] != b"\\n" or len(values) != self.record_count or b"\\n" in values[0]:\n',
        "        if len(raw) <= start:\n",
        ("tests/unit/records/test_record_batch.py::test_another_number_of_lines_than_announced_is_refused[1]",),
    ),
    Bug(
        "offsets-of-columns-not-checked",
        "5 D-3",
        _BATCH,
        "        elif any(b <= a for a, b in zip([-1, *deltas], [*deltas, self.last_offset_delta + 1], strict=True)):\n",
        "        elif deltas[-1:] > [self.last_offset_delta]:\n",
        (
            "tests/unit/records/test_record_batch.py::test_offsets_that_do_not_increase_within_the_batch_are_refused[deltas0]",
        ),
    ),
    Bug(
        "chain-without-the-batch-before",
        "5 D-6",
        _BATCH,
        "    return crc32c(CHAIN.pack(payload_crc, count, producer_id, first, last), previous)\n",
        "    return crc32c(CHAIN.pack(payload_crc, count, producer_id, first, last))\n",
        (
            "tests/unit/records/test_record_batch.py::test_a_chain_depends_on_all_before_it_and_not_on_what_a_leader_stamps",
        ),
    ),
    Bug(
        "bomb-not-refused",
        "5 security",
        _CODECS,
        "    if raw_length > MAX_RAW_BYTES or raw_length > MAX_RATIO * max(len(data), 1):\n",
        "    if raw_length < 0:\n",
        ("tests/unit/records/test_codecs.py::test_a_bomb_is_refused_before_it_is_opened[1]",),
    ),
    Bug(
        "decompressed-without-a-bound",
        "5 security",
        _CODECS,
        "        raw = decoder.decompress(data, raw_length + 1)\n",
        "        raw = decoder.decompress(data)\n",
        ("tests/unit/records/test_codecs.py::test_a_bomb_that_announces_little_costs_little[1]",),
    ),
    Bug(
        "another-length-than-announced-accepted",
        "5 security",
        _CODECS,
        "    if len(raw) != raw_length or not decoder.eof or decoder.unused_data:\n",
        "    if not decoder.eof or decoder.unused_data:\n",
        ("tests/unit/records/test_codecs.py::test_another_length_than_announced_is_refused[1]",),
    ),
    Bug(
        "msgpack-with-maps",
        "5 security",
        _CODECS,
        "raw=False, use_list=True, max_map_len=0, max_ext_len=0, max_str_len=0)\n",
        "raw=False, use_list=True, strict_map_key=False)\n",
        (
            "tests/unit/records/test_codecs.py::test_msgpack_of_anything_but_lists_bytes_integers_and_nil_is_refused[map]",
        ),
    ),
    Bug(
        "scalars-with-arrays",
        "5 security",
        _CODECS,
        "            if type(value) not in _SCALARS:\n",
        "            if value is ...:\n",
        ("tests/transports/test_channel.py::test_a_head_with_anything_but_scalars_is_refused",),
    ),
    Bug(
        "stream-of-msgpack-without-a-bound",
        "5 security",
        _CODECS,
        "            max_array_len=_MAX_STREAM_ARRAY,\n",
        "",
        ("tests/unit/formats/test_framed.py::test_an_array_that_claims_more_than_a_million_values_is_not_waited_for",),
    ),
)
