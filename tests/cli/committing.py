"""Committing an offset for a group, as a member of it does; there is no command that does it by hand."""

from mk.groups.claim import take
from mk.groups.claim_directory import make_claims
from mk.storage.log_directory import LogDirectory


def commit(directory, group, topic, partition, offset, *, leader_epoch=0):
    """Take a partition for a group, commit an offset unless it is None, and let go."""
    opened = LogDirectory(str(directory))
    found = opened.open_topic(topic)
    claims = make_claims(found, group)
    claim = take(claims, partition)
    assert claim is not None, "somebody holds it"
    if offset is not None:
        claim.commit(offset, leader_epoch)
    claim.close()
    claims.close()
    found.close()
    opened.close()
