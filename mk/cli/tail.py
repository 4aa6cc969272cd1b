"""`mk tail`: `mk consume --tail 10 -F` in short."""

from mk.cli import consume
from mk.cli.definitions.consume import CONSUME
from mk.cli.options import Options


def run(options: Options) -> int:
    """Print the last records, then what comes."""
    values: dict[str, object] = {parameter.name: parameter.default for parameter in CONSUME.parameters}
    values.update(vars(options), follow=True)
    del values["command"]
    return consume.run(Options(CONSUME, values))
