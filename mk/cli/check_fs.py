"""`mk check fs`: what mk relies on, a line each."""

from __future__ import annotations

from mk.cli.console import print_json
from mk.cluster import check_file_system, default_location

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mk.cli.options import Options

_VERDICTS = (
    "all that mk relies on is there",
    "mk works there, with less",
    "nothing is to be trusted to it",
)


def run(options: Options) -> int:
    """Prove the file system of a directory; the status is the verdict."""
    document = check_file_system(options.place or options.directory or default_location())
    status = document["status_code"]
    if options.json:
        print_json(document)
        return int(status)
    width = max(len(fact["name"]) for fact in document["facts"])
    for fact in document["facts"]:
        print(f"{fact['result']:<11}  {fact['name']:<{width}}  {fact['text']}")
    print(f"{document['place']}: {_VERDICTS[status]}")
    return int(status)
