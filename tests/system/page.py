"""The section "Under systemd" of docs/failure-modes.md: a row for each scenario that has one, written by
`scripts/system-test --write-docs`."""

from machine import Failed
from scenario import SOURCE

PAGE = SOURCE / "docs/failure-modes.md"
BEGIN = "<!-- written by tests/system: begin -->\n"
END = "<!-- written by tests/system: end -->\n"
HEAD = ("| case | what clients saw | slowest reply | well again after | confirmed, then lost | the journal said |\n"
        "|---|---|---|---|---|---|\n")
HOW = "scripts/system-test --write-docs SCENARIO..."


def parts(text):
    """What is before, between and after the marks."""
    try:
        before, rest = text.split(BEGIN)
        table, after = rest.split(END)
    except ValueError:
        raise Failed(f"{PAGE.name} has not one pair of marks: {BEGIN.strip()}") from None
    return before, table, after


def rows(table):
    """The rows of the table by their cases."""
    lines = [line for line in table.splitlines() if line.startswith("| ")]
    return {line[2:].split(" | ")[0]: line for line in lines if not line.startswith("| case |")}


def write(cases, fresh):
    """Puts fresh rows among those there are, in the order of `cases`; rows of no case go."""
    before, table, after = parts(PAGE.read_text())
    known = {**rows(table), **fresh}
    lines = [known[case] for case in cases if case in known]
    PAGE.write_text("".join([before, BEGIN, "\n", HEAD, *(line + "\n" for line in lines), "\n", END, after]))


def problem(cases):
    """What the page lacks or has too much; nothing when it has a row for each case, in order."""
    listed = list(rows(parts(PAGE.read_text())[1]))
    if listed == cases:
        return None
    lacks, extra = [case for case in cases if case not in listed], [case for case in listed if case not in cases]
    wrong = [f"lacks a row: {case}" for case in lacks] + [f"has a row of no scenario: {case}" for case in extra]
    return "\n".join(f"docs/{PAGE.name} {words}" for words in wrong or ["has its rows in another order"]) + f"\nwrite it: {HOW}"
