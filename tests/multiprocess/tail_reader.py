"""A reader of a topic's last records and of what comes, by the Python API; prints what it is given, a JSON line each.

    python tail_reader.py DIRECTORY TOPIC COUNT

A line has partition, offset, key and payload, as those of `mk consume -J`; what was removed before it was read is told on
stderr, as there.
"""

import json
import sys

import mk


def main(directory, topic, count):
    def tell(name, partition, first, last):
        print(f"mk: {name} {partition}: offsets {first} to {last} are gone", file=sys.stderr, flush=True)

    with (
        mk.connect(directory) as cluster,
        cluster.consumer([topic], tail=int(count), follow=True, on_skip=tell) as consumer,
    ):
        for fetch in consumer.fetches():
            lines = []
            for batch in fetch:
                for record in batch.records():
                    key = None if record.key is None else record.key.decode()
                    line = {"partition": record.partition, "offset": record.offset, "key": key}
                    lines.append(json.dumps({**line, "payload": record.value.decode()}) + "\n")
            sys.stdout.write("".join(lines))
            sys.stdout.flush()


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except mk.MkError as error:
        print(f"{error.what}", file=sys.stderr)
        sys.exit(error.exit_status)
