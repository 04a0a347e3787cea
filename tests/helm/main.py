"""Runs the tests of the Helm chart: a line each, then a count. Called by scripts/helm-test.

    main.py [NAME...]    all tests, or those whose names have one of these words in them
"""

import importlib
import sys
import time
import traceback

import helm_python
import registry

# In this order: from the files to what they become, from there to what is done with them.
TOPICS = ("facts", "rendered", "refusals", "running", "published")


def main(words):
    """Answers the exit code."""
    for topic in TOPICS:
        importlib.import_module(topic)
    passed = failed = skipped = 0
    for test in registry.TESTS:
        if words and not any(word in test.__name__ for word in words):
            continue
        begin = time.monotonic()
        try:
            said = test() or ""
            result, passed = "ok", passed + 1
        except registry.Skip as reason:
            said, result, skipped = str(reason), "SKIPPED", skipped + 1
        except Exception as problem:  # whatever it is, the others run all the same
            is_ours = isinstance(problem, (AssertionError, helm_python.HelmError)) and problem.args
            said = str(problem) if is_ours else traceback.format_exc().strip()
            result, failed = "FAIL", failed + 1
        first, *rest = said.splitlines() or [""]
        took = time.monotonic() - begin
        print(f"{result:7} {test.__name__.replace('_', ' '):70} {took:5.1f} s  {first}".rstrip(), flush=True)
        for line in rest:
            print("        " + line, flush=True)
    if passed + failed == 0:
        print("error: there is no such test", file=sys.stderr)
        return 2
    print(f"\nhelm: {passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
