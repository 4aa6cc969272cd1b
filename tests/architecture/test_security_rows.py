"""Each way in which somebody could harm through mk has tests that try it: which, by the threats that the design counts."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

ROWS = {
    "path traversal": """
        cli/test_hostile_neighbours.py::test_hostile_names_of_topics
        cli/test_hostile_small_files.py::test_the_identity_of_a_directory
        cli/test_hostile_small_files.py::test_the_identity_of_a_topic
        cli/test_hostile_small_files.py::test_where_a_group_stands_and_stood
        cli/test_sharing.py::test_foreign_files_are_ignored
        cli/test_exec.py::test_what_cannot_be_is_noticed_at_once
        transports/test_hostile_far_sides.py::test_a_lie_is_refused
        unit/groups/test_claim.py::test_a_group_that_is_not_there_is_not_found_and_a_wrong_name_is_refused
        unit/storage/test_log_directory.py::test_a_name_that_is_none_is_refused_before_anything_is_touched
        unit/storage/test_quarantine.py::test_a_name_that_is_none_is_refused_and_not_listed
        unit/storage/test_replica_directory.py::test_a_name_that_is_no_id_makes_no_file
    """,
    "symlink planting": """
        cli/test_hostile_neighbours.py::test_what_is_planted_does_no_harm
        cli/test_hostile_neighbours.py::test_a_file_with_another_name_is_not_written_to
        cli/test_hostile_neighbours.py::test_evidence_is_not_put_where_a_link_leads
        cli/test_hostile_races.py::test_what_is_exchanged_while_mk_runs_does_no_harm
        cli/test_hostile_races.py::test_the_file_that_proves_a_disk_is_a_new_one
        cli/test_hostile_races.py::test_what_only_has_a_name_as_leftovers_have_holds_up_nobody
        cli/test_sharing.py::test_planted_things_in_a_partition_do_no_harm
        cli/test_sharing.py::test_planted_things_above_a_partition_do_no_harm
        unit/groups/test_claim.py::test_a_planted_link_is_refused
        unit/storage/test_files.py::test_a_tree_is_removed_without_leaving_it_through_a_link
        unit/storage/test_quarantine.py::test_a_planted_link_is_not_followed
        unit/storage/test_replica_directory.py::test_planted_links_are_not_followed
    """,
    "another user's store, with my rights": """
        architecture/test_no_code_from_data.py::test_no_setting_of_a_topic_names_something_to_run
        architecture/test_no_code_from_data.py::test_who_runs_commands_or_code_or_imports_by_name_is_known
        cli/test_hostile_neighbours.py::test_files_of_other_owners_are_used_or_ignored_but_never_given_away
        cli/test_hostile_races.py::test_root_gives_no_file_away_that_was_put_there_meanwhile
        cli/test_hostile_small_files.py::test_what_is_known_of_other_directories
    """,
    "locks held to keep others out": """
        cli/test_hostile_groups.py::test_a_heartbeat_that_is_no_number_neither_hangs_a_member_nor_makes_it_traceback
        cli/test_hostile_groups.py::test_a_process_number_that_is_how_another_members_id_begins_kicks_nobody
        cli/test_sharing.py::test_another_user_cannot_get_at_the_locks
        cli/test_shared_group.py::test_who_only_reads_cannot_change_or_block_anything
        multiprocess/test_locks_between_processes.py::test_a_waiter_gives_up_with_75_and_names_the_holder
    """,
    "permissions, umask, setgid": """
        cli/test_sharing.py::test_restrictive_and_open_umasks
        cli/test_sharing.py::test_another_user_cannot_write_and_is_told_so
        cli/test_sharing.py::test_another_user_with_read_permission_consumes_and_creates_nothing
        cli/test_shared_group.py::test_members_write_in_turn_whatever_their_umask
        cli/test_shared_group.py::test_a_member_killed_before_it_shares_what_it_made_shuts_nobody_out
        cli/test_hostile_leaks.py::test_what_is_cut_off_is_for_its_owner_alone
        multiprocess/test_environment_disks.py::test_what_may_not_be_written_to_can_be_read
    """,
    "a writer who rewrites history": """
        cli/test_remote.py::test_a_key_that_may_only_produce_to_some_topics_can_do_nothing_else
        transports/test_hostile_clients.py::test_who_may_only_push_reads_no_record
        unit/server/test_producing.py::test_what_is_no_batch_ends_the_session_and_leaves_nothing
    """,
    "what a client may do by ssh": """
        transports/test_serve_command.py::test_the_examples_of_the_manual_limit_a_key
        transports/test_serve_command.py::test_it_is_for_ssh_and_says_so
        transports/test_hostile_clients.py::test_an_operation_needs_its_kind
        transports/test_hostile_clients.py::test_a_client_names_any_directory_unless_there_is_a_root
        transports/test_hostile_clients.py::test_a_limited_reader_gets_nothing_of_other_topics_by_their_ids
        unit/server/test_permissions.py::test_an_operation_is_for_the_topics_of_its_kind_also_among_those_that_are_open
    """,
    "options for ssh in the name of a host": """
        transports/test_address.py::test_what_cannot_be_a_host_is_refused_and_nothing_is_run
        transports/test_ssh.py::test_the_words_hold_the_host_and_nothing_else_of_the_address
    """,
    "records in arguments of --exec": """
        cli/test_exec.py::test_a_command_is_split_into_words_and_no_shell_sees_it
        cli/test_exec.py::test_keys_and_headers_that_no_environment_holds
        cli/test_exec_children.py::test_children_hold_nothing_but_their_three_streams
        cli/test_hostile_leaks.py::test_a_format_is_text_and_no_program
        unit/consumer/test_child_environment.py::test_what_is_too_long_is_left_out_and_named
    """,
    "escapes for a terminal": """
        cli/test_hostile_neighbours.py::test_what_was_typed_is_shown_and_not_obeyed
        cli/test_hostile_neighbours.py::test_hostile_names_and_contents_in_the_directory_are_shown_and_not_obeyed
        cli/test_main.py::test_control_characters_in_an_error_are_shown_not_executed
        transports/test_ssh.py::test_noise_of_a_shell_profile_is_shown
        unit/formats/test_terminal.py::test_what_could_steer_or_mislead_a_terminal_is_shown_by_its_bytes
    """,
    "a little that unpacks to a lot": """
        cli/test_hostile_batches.py::test_a_batch_that_was_made_to_harm_costs_little_on_every_way
        unit/records/test_codecs.py::test_a_bomb_is_refused_before_it_is_opened
        unit/records/test_codecs.py::test_a_bomb_that_announces_little_costs_little
    """,
    "hostile segments and replicas": """
        cli/test_hostile_batches.py::test_a_batch_that_was_made_to_harm_costs_little_on_every_way
        cli/test_hostile_small_files.py::test_where_a_log_ends
        cli/test_hostile_small_files.py::test_who_led_a_log
        transports/test_hostile_clients.py::test_a_writer_that_does_not_keep_to_the_protocol_is_told_so
        transports/test_hostile_far_sides.py::test_a_lie_is_refused
        unit/maintenance/test_noise.py::test_a_segment_that_was_tampered_with
        unit/server/test_consuming.py::test_what_comes_is_proved_again
    """,
    "msgpack": """
        property/test_channel.py::test_any_bytes_are_refused_or_understood
        transports/test_channel.py::test_a_head_with_anything_but_scalars_is_refused
        unit/records/test_codecs.py::test_msgpack_of_anything_but_lists_bytes_integers_and_nil_is_refused
        architecture/test_no_code_from_data.py::test_no_module_makes_objects_runs_code_or_asks_a_shell
    """,
    "use of all there is": """
        cli/test_hostile_leaks.py::test_more_partitions_than_there_may_be_are_refused_before_one_is_made
        cli/test_hostile_leaks.py::test_more_members_than_there_may_be_do_not_stop_one_from_reading
        cli/test_hostile_leaks.py::test_thousands_of_files_in_members_are_looked_at_once_and_swept
        cli/test_hostile_small_files.py::test_an_end_that_no_log_comes_to_is_not_filled_up_with_batches
        cli/test_sharing.py::test_a_disk_is_not_filled_to_the_last_byte_and_clean_and_trim_make_room_again
        multiprocess/test_environment_limits.py::test_too_few_open_files
        transports/test_hostile_clients.py::test_more_partitions_than_there_may_be_are_an_error_and_nothing_worse
        transports/test_hostile_far_sides.py::test_memory_is_bounded_whatever_comes
        transports/test_serve_command.py::test_memory_is_bounded_whatever_a_client_says
        unit/storage/test_replica_directory.py::test_one_source_too_many_is_refused
    """,
    "what others get to see": """
        cli/test_hostile_leaks.py::test_who_waits_for_a_lock_is_not_told_the_records_of_its_holder
        cli/test_hostile_leaks.py::test_what_is_cut_off_is_for_its_owner_alone
        cli/test_hostile_neighbours.py::test_keys_and_values_are_in_no_error
    """,
    "names of temporary files": """
        architecture/test_no_code_from_data.py::test_the_name_of_a_temporary_file_cannot_be_told_before
        architecture/test_no_code_from_data.py::test_a_file_is_made_new_or_opened_as_it_is_and_never_emptied_as_it_is_opened
        cli/test_hostile_races.py::test_the_file_that_proves_a_disk_is_a_new_one
    """,
    "what changes between a look and an opening": """
        cli/test_hostile_races.py::test_a_second_name_that_comes_and_goes_is_not_opened_for_writing
        cli/test_hostile_races.py::test_root_gives_no_file_away_that_was_put_there_meanwhile
        cli/test_hostile_races.py::test_what_is_exchanged_while_mk_runs_does_no_harm
    """,
    "codecs and plug-ins by name": """
        architecture/test_no_code_from_data.py::test_the_codecs_are_a_table_and_no_number_names_a_module
        architecture/test_no_code_from_data.py::test_what_is_imported_by_name_stands_in_the_source
        unit/records/test_codecs.py::test_an_unknown_codec_is_refused
    """,
}


@pytest.mark.parametrize("row", ROWS)
def test_a_threat_has_tests_that_are_there(row):
    named = ROWS[row].split()
    assert named
    for node in named:
        place, _, name = node.partition("::")
        functions = {
            part.name
            for part in ast.walk(ast.parse((ROOT / "tests" / place).read_text()))
            if isinstance(part, ast.FunctionDef)
        }
        assert name in functions, node


def test_whatever_is_called_hostile_belongs_to_a_threat():
    listed = {node.partition("::")[0] for nodes in ROWS.values() for node in nodes.split()}
    for path in (ROOT / "tests").rglob("test_hostile_*.py"):
        assert str(path.relative_to(ROOT / "tests")) in listed, path
