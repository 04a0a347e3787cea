"""The workflows: valid, bounded, with few rights, and of scripts that exist. And scripts/helm-pages, which
one of them runs."""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

import scratch

GITHUB = scratch.ROOT / ".github"
WORKFLOWS = sorted(GITHUB.glob("workflows/*.yml"))
# Where a step of this repository is named in a command.
OWN = re.compile(r"(?<![\w./-])(?:scripts|perf|packaging|tests|\.ci)/[\w.-]+(?:/[\w.-]+)*")
# May write something of the repository.
WRITERS = {("release.yml", "attach", "contents"), ("release.yml", "chart", "contents"),
           ("release.yml", "image", "packages")}


def commands(text):
    """The text of every `run`."""
    lines, found = text.splitlines(), []
    for number, line in enumerate(lines):
        run = re.match(r"( *)(- )?run: (.*)", line)
        if not run:
            continue
        if run.group(3) != "|":
            found.append(run.group(3))
            continue
        depth = len(run.group(1)) + len(run.group(2) or "")
        block = []
        for later in lines[number + 1:]:
            if later.strip() and len(later) - len(later.lstrip()) <= depth:
                break
            block.append(later)
        found.append("\n".join(block))
    return found


def jobs(text):
    """Name and text of every job."""
    parts = re.split(r"^  (\w[\w-]*):$", text.split("\njobs:\n")[1], flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2]))


class Workflows(unittest.TestCase):
    def each(self):
        self.assertEqual([path.name for path in WORKFLOWS],
                         ["advisories.yml", "ci.yml", "gate.yml", "release.yml"])
        for path in WORKFLOWS:
            with self.subTest(path.name):
                yield path, path.read_text()

    def test_actionlint_finds_nothing(self):
        done = subprocess.run(["scripts/actionlint"], cwd=scratch.ROOT, capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stdout), (0, ""), done.stderr)

    def test_actionlint_would_find_something(self):
        text = (GITHUB / "workflows/ci.yml").read_text()
        faults = (("timeout-minutes:", "timeout-hours:"), ("github.ref", "github.reff"), ("needs: test", "needs: nothing"))
        for before, after in faults:
            self.assertIn(before, text)
            text = text.replace(before, after, 1)
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "broken.yml"
            path.write_text(text)
            done = subprocess.run(["scripts/actionlint", str(path)], cwd=scratch.ROOT, capture_output=True, text=True)
        self.assertEqual(done.returncode, 1, done.stderr)
        for fault in ("timeout-hours", "reff", "nothing"):
            self.assertIn(fault, done.stderr)

    def test_actions_are_pinned(self):
        for path in [*WORKFLOWS, *GITHUB.glob("actions/*/action.yml")]:
            for used in re.findall(r"uses: (\S+)", path.read_text()):
                if used.startswith("./"):
                    self.assertTrue((scratch.ROOT / used / "action.yml").is_file(), used)
                else:
                    self.assertRegex(used, r"^[\w.-]+/[\w./-]+@(v\d+|[0-9a-f]{40})$")

    def test_every_job_is_bounded(self):
        for path, text in self.each():
            self.assertIn("\nconcurrency:\n", text)
            for name, job in jobs(text).items():
                self.assertRegex(job, r"(?m)^    timeout-minutes: \d+$", f"{path.name}: {name}")

    def test_nothing_may_write_but_what_has_to(self):
        found = set()
        for path, text in self.each():
            self.assertIn("\npermissions:\n  contents: read\n", text)
            self.assertNotIn(": write", text.split("\njobs:\n")[0])
            for name, job in jobs(text).items():
                found |= {(path.name, name, right) for right in re.findall(r"(?m)^      (\S+): write$", job)}
            self.assertEqual(text.count(": write"), len([one for one in found if one[0] == path.name]))
        self.assertEqual(found, WRITERS)

    def test_only_what_pushes_keeps_the_token_of_a_checkout(self):
        for path, text in self.each():
            for name, job in jobs(text).items():
                kept = job.count("actions/checkout@") - job.count("persist-credentials: false")
                self.assertEqual(kept, int((path.name, name) == ("release.yml", "chart")), f"{path.name}: {name}")

    def test_commands_name_what_is_there(self):
        named = set()
        for path, text in self.each():
            for command in commands(text):
                for own in OWN.findall(command):
                    named.add(own)
                    file = scratch.ROOT / own
                    # What another change brings is run where it is there.
                    self.assertTrue(os.access(file, os.X_OK) or f"hashFiles('{own}')" in text, f"{path.name}: {own}")
        self.assertLessEqual({"scripts/test", "scripts/run", "scripts/package", "scripts/release",
                              "scripts/actionlint"}, named)

    def test_commands_are_bash_and_take_nothing_from_an_event_as_code(self):
        for _, text in self.each():
            self.assertIn("\ndefaults:\n  run:\n    shell: bash\n", text)
            for command in commands(text):
                self.assertNotIn("${{", command)
                done = subprocess.run(["bash", "-n"], input=command, capture_output=True, text=True)
                self.assertEqual((done.returncode, done.stderr), (0, ""), command)


class Charts(scratch.Scratch):
    """scripts/helm-pages, beside a stand-in of what packs the chart."""

    def setUp(self):
        super().setUp()
        for name in ("helm-pages", "lib.sh"):
            shutil.copy(scratch.ROOT / "scripts" / name, self.repo / "scripts" / name)
        pack = self.repo / "scripts/helm-repo"
        pack.write_text('#!/usr/bin/env bash\nset -eu\nmkdir -p "$1"\n'
                        'version=$(sed -n "s/^version: //p" packaging/helm/agent-core/Chart.yaml)\n'
                        'echo "$*" | cut -d" " -f2- >"$1/agent-core-$version.tgz"\nls "$1" >"$1/index.yaml"\n')
        pack.chmod(0o755)
        self.commit("Charts")

    def pages(self, *arguments):
        return subprocess.run(["scripts/helm-pages", *arguments], cwd=self.repo, env=self.environment(),
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=scratch.TIMEOUT_S)

    def served(self, *arguments):
        done = self.pages(*arguments)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.git("fetch", "--quiet", "origin", "gh-pages")
        return done.stdout, self.git("ls-tree", "-r", "--name-only", "FETCH_HEAD").splitlines()

    def test_the_first_chart_and_a_second_beside_it(self):
        said, files = self.served("Example/Agent-Core")
        self.assertIn("https://example.github.io/Agent-Core/charts", said)
        self.assertEqual(files, [".nojekyll", "charts/agent-core-0.9.0.tgz", "charts/index.yaml"])
        self.assertEqual(self.git("show", "FETCH_HEAD:charts/agent-core-0.9.0.tgz"),
                         "--owner example --url https://example.github.io/Agent-Core/charts")
        self.write("packaging/helm/agent-core/Chart.yaml", "version: 0.9.1\n")
        self.commit("Second")
        self.assertEqual(self.served("Example/Agent-Core")[1], [
            ".nojekyll", "charts/agent-core-0.9.0.tgz", "charts/agent-core-0.9.1.tgz", "charts/index.yaml"])
        self.assertEqual((self.git("status", "--porcelain"), self.git("worktree", "list").count("\n")), ("", 0))

    def test_the_same_again_pushes_nothing(self):
        self.served("example/alfred")
        before = self.published()
        self.assertIn("the charts are there already", self.served("example/alfred")[0])
        self.assertEqual(self.published(), before)

    def test_what_names_no_repository(self):
        for arguments in ((), ("alfred",), ("/alfred",), ("example/",)):
            done = self.pages(*arguments)
            self.assertEqual(done.returncode, 1)
            self.assertIn("hint: scripts/helm-pages OWNER/REPOSITORY", done.stderr)
        self.assertNotIn("gh-pages", self.published())


if __name__ == "__main__":
    unittest.main()
