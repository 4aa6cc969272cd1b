"""A snapshot has no commit of a record that it lacks, whatever is produced and committed while it is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mk
from mk.maintenance import snapshot

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def produce_and_commit(cluster: Any) -> None:
    with cluster.producer("t") as producer:
        producer.send(b"x")
    with cluster.group_consumer("g", ["t"]) as consumer:
        for _ in consumer:
            pass


def test_what_is_committed_while_the_log_is_taken_is_not_in_the_snapshot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_topic = snapshot._Snapshot._take_topic
    with mk.connect(str(tmp_path / "log"), create=True) as cluster:
        cluster.create_topic("t")
        produce_and_commit(cluster)

        def take_and_go_on(self: snapshot._Snapshot, topic_id: str, name: str) -> None:
            take_topic(self, topic_id, name)
            produce_and_commit(cluster)

        monkeypatch.setattr(snapshot._Snapshot, "_take_topic", take_and_go_on)
        cluster.snapshot(str(tmp_path / "copy"))
    with mk.connect(str(tmp_path / "copy")) as copy:
        assert copy.committed_offset("g", "t", 0) == 1
        assert len(list(copy.consumer(["t"]))) == 1
