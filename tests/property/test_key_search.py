"""The last record with a key, and whether there are keys at all, as somebody finds them who reads everything."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

import mk
from mk.storage import offset_index

KEYS = st.one_of(st.none(), st.sampled_from([b"", b"a", b"b", b"ab", b"a\nb"]))
VALUES = st.one_of(st.none(), st.sampled_from([b"", b"a", b"ab\n", b"x" * 900]))
SENDS = st.one_of(
    st.tuples(st.just("records"), st.lists(st.tuples(VALUES, KEYS), min_size=1, max_size=5)),
    st.tuples(st.just("lines"), st.tuples(st.integers(1, 40), KEYS)),
)
INDEXES = st.sampled_from(["as written", "missing", "of zeros", "of nonsense"])


@given(st.lists(SENDS, max_size=12), st.sampled_from(["none", "zstd"]), INDEXES)
def test_the_last_record_is_found_whatever_the_index_says(
    sends: list[tuple[str, object]], compression: str, index: str
) -> None:
    interval, offset_index.INTERVAL_BYTES = offset_index.INTERVAL_BYTES, 512
    try:
        with (
            tempfile.TemporaryDirectory(prefix="mk-key-search") as place,
            mk.connect(f"{place}/log", create=True) as cluster,
        ):
            cluster.create_topic("t", config={"segment.bytes": 4096, "compression.type": compression})
            _send(cluster, sends)
            for path in Path(place).glob("log/topics/t/0/*.index"):
                if index == "missing":
                    path.unlink()
                elif index != "as written":
                    path.write_bytes(bytes(320) if index == "of zeros" else b"\x00\x00\x00\x07nonsense####" * 20)
            records = list(cluster.consumer(["t"]))
            assert cluster.has_keyed_records("t") == any(record.key is not None for record in records)
            for key in (b"", b"a", b"b", b"ab", b"a\nb", b"nowhere"):
                wanted = [record for record in records if record.key == key]
                found = cluster.last_record("t", 0, key)
                assert (found is None) == (not wanted)
                if found is not None:
                    assert (found.offset, found.value) == (wanted[-1].offset, wanted[-1].value)
    finally:
        offset_index.INTERVAL_BYTES = interval


def _send(cluster: mk.Cluster, sends: list[tuple[str, object]]) -> None:
    with cluster.producer("t", acks=0) as producer:
        for kind, what in sends:
            if kind == "records":
                for value, key in what:  # type: ignore[attr-defined]
                    producer.send(value, key)
            else:
                count, key = what  # type: ignore[misc]
                producer.send_lines(b"line\n" * count, key=key)
            producer.flush()
