"""The table of exit statuses: read from the tree of errors, so that there is one list of them."""

import mk.errors
import mk.group_errors  # whose classes are in the tree too

_BEFORE = ((0, "done; an empty result is success"),)
_AFTER = (
    (129, "ended by SIGHUP, after finishing what was being written"),
    (130, "ended by ^C (SIGINT), the same way"),
    (141, "the reader of the output went away (SIGPIPE); silent"),
    (143, "ended by SIGTERM, after finishing what was being written"),
)


def exit_statuses() -> list[tuple[int, str]]:
    """Return each exit status with its meaning, ascending; the families come from the tree on top of mk/errors.py."""
    families: dict[int, str] = {}
    by_name = {error.__name__: error for error in error_classes()}
    for line in (mk.errors.__doc__ or "").splitlines():
        name, *rest = line.split(maxsplit=2) or [""]
        error = by_name.get(name)
        if error is not None and len(rest) == 2 and rest[0] == str(error.exit_status):
            families[error.exit_status] = rest[1].split(";")[0] if error is mk.errors.MkError else rest[1]
    for error in error_classes():
        families.setdefault(error.exit_status, _sentence(error))
    return sorted((*_BEFORE, *families.items(), *_AFTER))


def error_classes() -> list[type[mk.errors.MkError]]:
    """Return every class of the tree, each before its subclasses."""
    classes: list[type[mk.errors.MkError]] = []
    pending: list[type[mk.errors.MkError]] = [mk.errors.MkError]
    while pending:
        error = pending.pop(0)
        classes.append(error)
        pending.extend(error.__subclasses__())
    return classes


def _sentence(error: type[mk.errors.MkError]) -> str:
    """Name what `error` says, from its name: NotFoundError becomes "not found"."""
    name = error.__name__.removesuffix("Error")
    return "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name).strip()
