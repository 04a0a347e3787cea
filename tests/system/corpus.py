"""alfred-ingest@.service and its timer: a corpus kept fresh."""

from machine import wait_for
from scenario import check, documents, equal, make_corpus, prop, scenario

CORPUS = """paths = ["/srv/handbook/**/*.md", "/srv/handbook/**/*.pdf"]
root = "/srv/handbook"
prune = true
"""
UNIT = "alfred-ingest@handbook.service"


@scenario("corpus-unit")
def unit(machine, context):
    """The unit ingests what the corpus file says, incrementally, PDF included, and prunes."""
    make_corpus(machine, "/srv/handbook", 6)
    machine.write("/srv/handbook/paper.pdf", "")
    machine.file("/srv/handbook/paper.pdf").write_bytes(pdf("Restarting the upgrade needs patience."))
    machine.write("/etc/alfred/ingest.d/handbook.toml", CORPUS)
    machine.run(f"systemctl start {UNIT}")
    equal(documents(machine), 7, "documents")
    machine.run("rm /srv/handbook/doc00000.md && echo '# New' >/srv/handbook/new.md && echo More >>/srv/handbook/new.md")
    machine.run(f"systemctl start {UNIT}")
    equal(documents(machine), 7, "documents after one was removed and one added")
    text = machine.out(f"journalctl --no-pager -u {UNIT} -n 5 -o cat")
    foreign = machine.out("find /var/lib/alfred ! -user alfred")
    check(not foreign, f"files in the state folder that are not the daemon's: {foreign}")
    return next((line for line in reversed(text.splitlines()) if "unchanged" in line), "")


@scenario("corpus-unit-alone")
def alone(machine, context):
    """The unit works without a daemon, on the store itself, in its sandbox."""
    make_corpus(machine, "/srv/handbook", 4)
    machine.write("/srv/handbook/paper.pdf", "")
    machine.file("/srv/handbook/paper.pdf").write_bytes(pdf("Restarting the upgrade needs patience."))
    machine.write("/etc/alfred/ingest.d/handbook.toml", CORPUS)
    machine.run("systemctl stop alfred.socket alfred.service")
    machine.run(f"systemctl start {UNIT}")
    machine.run("systemctl start alfred.socket alfred.service")
    check(documents(machine) >= 5, f"{documents(machine)} documents")


@scenario("corpus-timer")
def timer(machine, context):
    """The timer fires (shortened by drop-in); a wrong corpus file shows among the failed units."""
    make_corpus(machine, "/srv/handbook", 3)
    machine.write("/etc/alfred/ingest.d/handbook.toml", CORPUS)
    machine.write("/etc/systemd/system/alfred-ingest@.timer.d/soon.conf",
                  "[Timer]\nOnCalendar=\nOnCalendar=*:*:0/2\nRandomizedDelaySec=0\nAccuracySec=100ms\n")
    try:
        machine.run("systemctl daemon-reload && systemctl enable --now alfred-ingest@handbook.timer")
        wait_for("the timer starts the unit", lambda: int(prop(machine, UNIT, "ExecMainExitTimestampMonotonic") or 0) > 0)
        equal(prop(machine, UNIT, "Result"), "success", "its result")
        machine.write("/etc/alfred/ingest.d/handbook.toml", CORPUS + "prunne = true\n")
        wait_for("the unit is among the failed ones", lambda: UNIT in machine.out("systemctl --failed --no-legend"))
        equal(prop(machine, UNIT, "ExecMainStatus"), "78", "its status")
    finally:
        machine.run("systemctl disable --now alfred-ingest@handbook.timer; rm -r /etc/systemd/system/alfred-ingest@.timer.d;"
                    f" systemctl daemon-reload; systemctl stop {UNIT}; systemctl reset-failed")


def pdf(text):
    """A PDF of one page with one line."""
    stream = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET".encode()
    parts = [b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
             b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
             b"<</Length %d>>\nstream\n%s\nendstream" % (len(stream), stream),
             b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"]
    out, offsets = b"%PDF-1.4\n", []
    for number, part in enumerate(parts, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, part)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    return out + (b"xref\n0 %d\n0000000000 65535 f \n%strailer\n<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n"
                  % (len(parts) + 1, table, len(parts) + 1, len(out)))
