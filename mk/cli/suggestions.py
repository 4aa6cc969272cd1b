"""What to type instead of the name of a topic or group that is not there."""

import os

from mk.cluster import connect, default_location
from mk.errors import MkError, NoSuchTopicError
from mk.group_errors import NoSuchGroupError
from mk.near_names import did_you_mean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mk.cli.options import Options


def suggest(error: MkError, options: "Options") -> None:
    """Add to an error which topic or group of the log directory may be meant. Another host adds that itself."""
    location = getattr(options, "directory", None) or default_location()
    if error.why or error.facts.get("directory") != location or not os.path.isdir(location):
        return  # It was there a moment ago, or is missing elsewhere.
    is_group = isinstance(error, NoSuchGroupError)
    if not (is_group or isinstance(error, NoSuchTopicError)):
        return
    try:
        with connect(location) as cluster:
            names = cluster.group_names() if is_group else cluster.topic_names()
    except (MkError, OSError):
        return  # The error at hand is the one to tell of.
    error.fix = f"{did_you_mean(str(error.facts['group' if is_group else 'topic']), names)} {error.fix}".lstrip()
