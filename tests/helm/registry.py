"""Which tests there are."""

TESTS = []


class Skip(Exception):
    """Says why a test cannot run on this machine."""


def test(function):
    """Registers a test: a function that answers words for its line, and fails by an exception."""
    TESTS.append(function)
    return function


def same(found, wanted, what):
    """Fails, with both, where two things differ."""
    if found != wanted:
        raise AssertionError(f"{what}\n  found:  {found!r}\n  wanted: {wanted!r}")
