"""Backups and moves of mk-recipes(7): what is there afterwards, also when a run before was killed anywhere."""

import datetime
import shutil
import time

import pytest
from recipe_blocks import needs, place, recipe  # noqa: F811, F401  a fixture


@pytest.fixture
def filled(place):  # noqa: F811
    """Ten orders, of which billing has read four."""
    place.shell("seq 10 | mk produce orders -q; mk consume orders -g billing -n 4")
    return place


def archive(here):
    return here.top / f"var/backups/mk-{datetime.date.today()}.tar.gz"


@pytest.mark.parametrize("line", range(1, 6))
def test_a_backup_is_made_whole_also_after_one_that_was_killed(filled, line):
    script, _ = recipe("A backup every night")
    lines = [one for one in script.splitlines() if not one.startswith("#")]
    filled.shell("\n".join(lines[:line]))  # As far as one came that was killed.
    filled.shell("mk produce orders -q 11")
    filled.shell(script)
    assert not (filled.top / "srv/mk.now").exists()
    unpacked = filled.top / "unpacked"
    unpacked.mkdir()
    shutil.unpack_archive(archive(filled), unpacked, filter="data")
    assert filled.values("orders", directory=unpacked) == [str(number) for number in range(1, 12)]
    assert [path.name for path in archive(filled).parent.iterdir()] == [archive(filled).name]


def test_a_backup_that_fails_leaves_the_last_one(filled):
    script, _ = recipe("A backup every night")
    filled.shell(script)
    before = archive(filled).read_bytes()
    log = next((filled.mk / "topics/orders/0").glob("*.log"))
    damaged = bytearray(log.read_bytes())
    damaged[-1] ^= 1
    log.write_bytes(damaged)
    assert filled.shell(script, check=False).returncode == 65
    assert archive(filled).read_bytes() == before


def test_a_backup_is_gone_back_to(filled):
    script, _ = recipe("A backup every night")
    filled.shell(script)
    filled.shell("mk produce orders -q lost")
    (block,) = recipe("Going back to a backup")
    block = block.replace("2026-11-29", str(datetime.date.today()))
    for _ in range(2):
        told = filled.shell(block).stdout
        assert "no damage" in told
        assert filled.values("orders") == [str(number) for number in range(1, 11)]
        # Killed in the middle, it is removed and unpacked again.
        shutil.rmtree(filled.mk)
        block = block.removeprefix("mv /srv/mk /srv/mk.aside\n")
    filled.shell(block)
    assert filled.values("orders", "-g billing") == ["5", "6", "7", "8", "9", "10"]
    filled.shell("mk produce orders -q 11")
    assert filled.values("orders", "-g billing") == ["11"]


@pytest.mark.parametrize("program", ["rsync", "borg"])
def test_other_tools_keep_a_snapshot_as_it_is(filled, program):
    needs(program)
    (line,) = [one for one in recipe("A backup every night")[1].splitlines() if one.startswith(program)]
    kept = filled.top / ("backup/var/backups/mk" if program == "rsync" else "unpacked")
    kept.mkdir(parents=True)
    borg = {"BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes", "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes"}
    if program == "borg":
        filled.shell("borg init -e none /var/backups/borg", **borg)
    for number in (11, 12):
        time.sleep(1)  # An archive has the name of its second.
        filled.shell(
            f"mk topics snapshot -q /srv/mk.now\n{line}\nrm -rf /srv/mk.now\nmk produce orders -q {number}", **borg
        )
    if program == "borg":
        filled.shell(
            f"cd {kept}; borg extract --strip-components {len(filled.mk.parts) - 1} "
            "/var/backups/borg::$(borg list --short --last 1 /var/backups/borg)",
            **borg,
        )
    assert filled.values("orders", directory=kept) == [str(number) for number in range(1, 12)]
    assert "no damage" in filled.shell(f"mk topics verify -d {kept}").stdout


def test_a_directory_moves_to_another_host(filled):
    here = filled
    while_all_goes_on, at_last = recipe("Moving to another host")
    log = here.work / "app.log"
    log.write_text("".join(f"line {number}\n" for number in range(100)))
    here.shell("head -n 50 app.log | mk produce app -q --producer-id app-1")
    here.shell(while_all_goes_on)
    here.shell(
        "mk produce orders -q 11; mk consume orders -g billing -n 2; head -n 70 app.log | mk produce app -q --producer-id app-1"
    )
    new = here.top / "new/srv/mk"
    refused = here.shell(f"mk produce orders -q -d {new} no", check=False)
    assert refused.returncode == 75
    for line in at_last.splitlines():
        for _ in range(2):  # Also once more, as after a kill.
            here.shell(line)
    # The same input again, as of a producer that is started there.
    here.shell(f"mk produce app -q --producer-id app-1 -d {new} < app.log; mk produce orders -q -d {new} 12")
    assert here.values("app", directory=new) == log.read_text().splitlines()
    assert here.values("orders", "-g billing", directory=new) == ["7", "8", "9", "10", "11", "12"]
    here.shell(f"mk replicate {new} {here.mk}")
    assert here.shell("mk produce orders -q no", check=False).returncode == 75
    assert here.values("orders") == [str(number) for number in range(1, 13)]
