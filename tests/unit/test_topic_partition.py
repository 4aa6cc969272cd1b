"""What topics, groups and producers may be called, wherever a name comes from."""

from __future__ import annotations

import pytest

from mk.errors import UsageError
from mk.topic_partition import check_name, check_producer_id, is_valid_name


@pytest.mark.parametrize("name", ["a", "A", "0", "a.b", "a-b_c", "x" * 200, "1.2.3", "a..b"])
def test_a_name_of_kafkas_letters_is_one(name: str) -> None:
    assert is_valid_name(name)
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "../a", "a/b", "/a", "a/", "-x", "--all", ".hidden", ".tmp-1", "_x", "x.", "x" * 201),
        *("a b", "a\n", "\na", "a\0", "a\x1b[31m", "ä", "a\u202e", "*", "a,b", "a:b", "~", "$HOME"),
        *("a.deleted", ".deleted-1", "a.deleted-1"),
    ],
)
def test_what_a_file_system_a_shell_or_mk_itself_would_take_for_something_else_is_none(name: str) -> None:
    assert not is_valid_name(name)
    with pytest.raises(UsageError) as caught:
        check_name(name)
    assert caught.value.what.isascii() and caught.value.what.isprintable()


@pytest.mark.parametrize("name", ["", "x" * 201, "a\nb", "\x1b", "\u202e"])
def test_a_producer_id_is_printed_on_one_line(name: str) -> None:
    with pytest.raises(UsageError):
        check_producer_id(name)
