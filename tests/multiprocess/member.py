"""A member of a group, as a process of its own: commits for ever, fences who does not, and notes what it was told.

    python member.py DIRECTORY GROUP TOPIC JOURNAL         until it is ended
    python member.py DIRECTORY GROUP TOPIC PARTITION OFFSET   one commit, at leader epoch 0

The journal gets a line `took GENERATION OFFSET` for each partition taken, and `acked GENERATION OFFSET` for each commit that
came back, each in one write behind the others'.
"""

import os
import sys
import time

from mk.group_errors import ClaimFencedError
from mk.groups.claim import fence, take
from mk.groups.claim_directory import make_claims
from mk.storage.log_directory import LogDirectory

PATIENCE_SECONDS = 0.02


def own(claims):
    """Return the claim on partition 0, taken when it is free, or from somebody who has not committed for a while."""
    seen, since = -1, time.monotonic()
    while True:
        try:
            claim = take(claims, 0)
            if claim is not None:
                return claim
            sequence = claims.newest(0).sequence
            if sequence != seen:
                seen, since = sequence, time.monotonic()
            elif time.monotonic() - since > PATIENCE_SECONDS:
                claim = fence(claims, 0)
                if claim is not None:
                    return claim
        except ClaimFencedError:
            continue
        time.sleep(0.002)


def live(claims, journal):
    def note(*words):
        os.write(journal, (" ".join(map(str, words)) + "\n").encode())

    while True:
        claim = own(claims)
        note("took", claim.generation, claim.committed.offset)
        try:
            for offset in range(claim.committed.offset + 1, claim.committed.offset + 200):
                claim.commit(offset, 0)
                note("acked", claim.generation, offset)
        except ClaimFencedError:
            continue
        claim.close()


def main(directory, group, topic, *rest):
    opened = LogDirectory(directory).open_topic(topic)
    claims = make_claims(opened, group)
    if len(rest) == 1:
        live(claims, os.open(rest[0], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600))
    partition, offset = map(int, rest)
    claim = take(claims, partition)
    claim.commit(offset, 0)
    claim.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
