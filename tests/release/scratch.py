"""A scratch repository to release from: sources with the real scripts/release, a bare remote, stand-ins
for what takes long (tests, gate, packages) and for what is elsewhere (gh, the webhook).

ALFRED names the program that judges runs again."""

import datetime
import http.server
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import unittest

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
RUNS = HERE / "runs"
TIMEOUT_S = 60
SECRET = "hush-hush"

SOURCES = {
    ".gitignore": "/target\n",
    "Cargo.toml": '[package]\nname = "alfred"\nversion = "0.9.0"\n',
    "Cargo.lock": '[[package]]\nname = "ahash"\nversion = "0.8.0"\n\n[[package]]\nname = "alfred"\nversion = "0.9.0"\n',
    "CHANGELOG.md": "# Changelog\n\n## [0.9.0] - 2026-11-30\n\nThe first release.\n\n### Added\n\n- Queries.\n\n"
                    "## [0.8.0] - 2026-10-01\n\n- Older.\n",
    "packaging/deb/changelog": "alfred (1:0.9.0-1) unstable; urgency=medium\n\n  * First.\n",
    "packaging/rpm/alfred.spec": "Name: alfred\nVersion:        %{rpm_version}\n",
    "packaging/helm/agent-core/Chart.yaml": 'name: agent-core\nversion: 0.9.0\nappVersion: "0.9.0"\n',
    "packaging/compose/compose.yaml": "    image: ${IMAGE:-ghcr.io/${OWNER:-alfred}/alfred:0.9.0}\n",
    "perf/queryset.txt": "How do I upgrade the Helm chart?\n",
}

# Stand-ins log that they ran. What they leave is named by their last argument or the environment.
STAND_INS = {
    "tests": 'echo tests >>"$STAND_INS/log"; exit "${TESTS_EXIT:-0}"\n',
    "packages": 'echo packages >>"$STAND_INS/log"; mkdir -p "${@: -1}"; cd "${@: -1}"\n'
                'for name in ${PACKAGES_MADE-alfred_0.9.0-1_amd64.deb alfred-0.9.0-1.x86_64.rpm}; do'
                ' echo "$name" >"$name"; done; exit "${PACKAGES_EXIT:-0}"\n',
    "charts": 'echo charts >>"$STAND_INS/log"; mkdir -p "${@: -1}"; cd "${@: -1}"\n'
              'for name in ${CHARTS_MADE-agent-core-0.9.0.tgz}; do echo "$name" >"$name"; done\n',
    "gate": 'echo "gate $RUN_NAME $QPS $DURATION" >>"$STAND_INS/log"; [ -z "${GATE_EXIT:-}" ] || exit "$GATE_EXIT"\n'
            'exec "$PYTHON" "$SCRATCH_PY" "$RUN_NAME" "$RUN_DIR" "${GATE_RUN:-pass}"\n',
    "gh": 'echo "gh $*" >>"$STAND_INS/log"\n'
          'case "$*" in\n'
          '  "auth status") [ -z "${GH_AUTH_FAILS:-}" ] || { echo "not logged in" >&2; exit 1; } ;;\n'
          '  "release view "*) [ -e "$STAND_INS/released" ] ;;\n'
          '  "release create "*) [ -z "${GH_FAILS:-}" ] || { echo "HTTP 502" >&2; exit 1; }; touch "$STAND_INS/released" ;;\n'
          'esac\n',
}


def record(name, folder, kind="pass", age=datetime.timedelta(minutes=2)):
    """A run as `alfred soak` recorded it once, under another name and begun at another time."""
    folder = pathlib.Path(folder)
    shutil.copytree(RUNS / kind, folder)
    edit(folder / "run.json", lambda run: (
        run.update(name=name),
        run["start"].update(wall=f"{datetime.datetime.now(datetime.timezone.utc) - age:%Y-%m-%dT%H:%M:%S.000Z}")))
    return folder


def edit(path, change):
    """Changes the object of a JSON file."""
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


class Webhook:
    """A receiver on loopback that answers with these statuses, the last one for good."""

    def __init__(self, *statuses):
        self.bodies, left = [], list(statuses)

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(handler):  # noqa: N805
                length = int(handler.headers["Content-Length"])
                self.bodies.append(json.loads(handler.rfile.read(length)))
                status = left.pop(0) if len(left) > 1 else left[0]
                handler.send_response(status)
                if status == 302:
                    handler.send_header("Location", self.url)
                handler.send_header("Content-Length", "0")
                handler.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/{SECRET}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Scratch(unittest.TestCase):
    """A test with a repository of its own, ready to be released as 0.9.0."""

    template = None

    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory(prefix="alfred-release-")
        self.addCleanup(self.temporary.cleanup)
        base = pathlib.Path(self.temporary.name)
        self.repo, self.stand_ins = base / "repo", base / "bin"
        self.remote = base / "github.com/example/alfred.git"
        self.home = base / "home"
        self.home.mkdir()
        self.make_stand_ins()
        self.make_repository()

    def make_stand_ins(self):
        self.stand_ins.mkdir()
        for name, script in STAND_INS.items():
            path = self.stand_ins / name
            path.write_text(f"#!/usr/bin/env bash\nset -eu\n{script}")
            path.chmod(0o755)

    def make_repository(self):
        """A copy of one that is made once."""
        if not Scratch.template:
            Scratch.template = tempfile.TemporaryDirectory(prefix="alfred-release-")
            unittest.addModuleCleanup(Scratch.forget_template)
            base, self.repo = self.repo.parent, pathlib.Path(Scratch.template.name) / "repo"
            self.make_template()
            self.repo = base / "repo"
        template = pathlib.Path(Scratch.template.name)
        shutil.copytree(template / "repo", self.repo, symlinks=True)
        shutil.copytree(template / "remote.git", self.remote, symlinks=True)

    @classmethod
    def forget_template(cls):
        Scratch.template.cleanup()
        Scratch.template = None

    def make_template(self):
        for name, text in SOURCES.items():
            self.write(name, text)
        (self.repo / "scripts").mkdir()
        shutil.copy(ROOT / "scripts/release", self.repo / "scripts/release")
        shutil.copytree(ROOT / "scripts/releasing", self.repo / "scripts/releasing",
                        ignore=shutil.ignore_patterns("__pycache__"))
        self.git("init", "--quiet", "--initial-branch=main")
        self.git("init", "--quiet", "--bare", "--initial-branch=main", "../remote.git")
        self.git("remote", "add", "origin", "../github.com/example/alfred.git")
        self.commit("First")
        self.git("push", "--quiet", "../remote.git", "main")

    def environment(self, **extra):
        kept = {name: os.environ[name] for name in ("PATH", "ALFRED", "LANG") if name in os.environ}
        return kept | {
            "PATH": f"{self.stand_ins}:{kept['PATH']}", "HOME": str(self.home), "STAND_INS": str(self.stand_ins),
            "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": str(self.home / "gitconfig"),
            "GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.org",
            "GIT_COMMITTER_NAME": "A", "GIT_COMMITTER_EMAIL": "a@example.org",
            "RELEASE_TEST_COMMAND": "tests", "RELEASE_GATE_COMMAND": "gate",
            "RELEASE_PACKAGE_COMMAND": "packages", "RELEASE_CHART_COMMAND": "charts",
            "PYTHON": sys.executable, "SCRATCH_PY": str(HERE / "scratch.py"), "PYTHONDONTWRITEBYTECODE": "1",
        } | extra

    def git(self, *arguments):
        return subprocess.run(["git", *arguments], cwd=self.repo, env=self.environment(), check=True,
                              capture_output=True, text=True, timeout=TIMEOUT_S).stdout.strip()

    def write(self, name, text):
        path = self.repo / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def commit(self, subject):
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", subject)
        return self.head()

    def head(self):
        return self.git("rev-parse", "HEAD")

    def given(self, **how):
        """A run of this commit's gate in a folder of its own."""
        return record(f"gate-{self.head()}", pathlib.Path(self.temporary.name) / "given", **how)

    def webhook(self, *statuses):
        receiver = Webhook(*statuses)
        self.addCleanup(receiver.close)
        return receiver

    def release(self, *flags, version="0.9.0", **extra):
        """Runs scripts/release; its code and all that it said. The webhook's secret is never in it."""
        done = subprocess.run([sys.executable, "scripts/release", version, *flags], cwd=self.repo,
                              env=self.environment(**extra), stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=TIMEOUT_S)
        said = done.stdout + done.stderr
        self.assertNotIn(SECRET, said)
        self.assertNotIn("Traceback", said)
        return done.returncode, said

    def made(self, *flags, **extra):
        """A release that succeeds; what was said."""
        code, said = self.release(*flags, **extra)
        self.assertEqual(code, 0, said)
        return said

    def refused(self, *flags, what, **extra):
        """A release that does not: with these words, a hint, no tag that was not there before."""
        before = self.git("tag")
        code, said = self.release(*flags, **extra)
        self.assertEqual(code, 1, said)
        errors = "\n".join(line for line in said.splitlines() if line.startswith("error: "))
        self.assertIn(what, errors, said)
        self.assertIn("\nhint: ", said)
        self.assertEqual(self.git("tag"), before)
        return said

    def log(self):
        """What stand-ins were asked, a line a call."""
        path = self.stand_ins / "log"
        return path.read_text().splitlines() if path.exists() else []

    def published(self):
        """The refs of the remote."""
        return self.git("ls-remote", "origin")


if __name__ == "__main__":
    record(*sys.argv[1:4])
