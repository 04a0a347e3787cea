"""What a release does when nothing is wrong, what it leaves when something fails late, and that a second
run does nothing twice."""

import hashlib
import os
import pathlib
import subprocess
import unittest

import scratch

MESSAGE = "/v1/query stable on v0.9.0 – ready for CRM workflow integration."
ALL = ("--push", "--github", "--notify")


def snapshot(*folders):
    """Every file below, with what is in it and when it was written; links and modes too."""
    found = {}
    for folder in folders:
        for path in sorted(pathlib.Path(folder).rglob("*")):
            about = path.lstat()
            content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
            found[str(path)] = (about.st_mode, about.st_mtime_ns if path.is_file() else 0, content)
    return found


class Whole(scratch.Scratch):
    def artifacts(self):
        return self.repo / "target/release-v0.9.0/artifacts"

    def test_everything(self):
        receiver = self.webhook(200)
        said = self.made(*ALL, ALFRED__NOTIFY__WEBHOOK_URL=receiver.url)
        asked = [line.split(" /")[0] for line in self.log()]
        self.assertEqual(asked, [
            "gh auth status", "tests", f"gate gate-{self.head()} 10 60s", "packages", "charts",
            "gh release view v0.9.0",
            "gh release create v0.9.0 --verify-tag --title agent-core v0.9.0 --notes-file"], said)
        self.assertEqual(receiver.bodies, [{"text": MESSAGE}])
        self.assertEqual(self.git("status", "--porcelain"), "")

    def test_the_tag(self):
        self.made()
        self.assertEqual(self.git("cat-file", "-t", "v0.9.0"), "tag")
        self.assertEqual(self.git("rev-parse", "v0.9.0^{commit}"), self.head())
        text = self.git("tag", "--list", "--format=%(contents)", "v0.9.0").splitlines()
        self.assertEqual(text[:2], ["agent-core v0.9.0 – perf gate green", ""])
        self.assertRegex(text[2], r"^p95 8\.\d\d ms \(below 300 ms\), p50 5\.\d\d ms, p99 \d+\.\d\d ms, "
                                  r"errors 0\.00% \(below 1%\)$")
        self.assertRegex(text[3], r"^600 requests to /v1/query in 60 s, measured from when each was due, 20\S+ \S+ UTC$")
        self.assertNotIn("refs/tags", self.published())

    def test_the_files_and_their_checksums(self):
        self.made()
        names = {path.name for path in self.artifacts().iterdir()}
        self.assertEqual(names, {"alfred_0.9.0-1_amd64.deb", "alfred-0.9.0-1.x86_64.rpm", "agent-core-0.9.0.tgz",
                                 "gate-report.html", "gate-verdict.json", "SHA256SUMS"})
        checked = subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=self.artifacts(),
                                 capture_output=True, text=True)
        self.assertEqual((checked.returncode, checked.stdout.count(": OK")), (0, 5), checked.stderr)
        self.assertIn("PASS", (self.artifacts() / "gate-report.html").read_text())

    def test_the_notes(self):
        self.made()
        notes = (self.repo / "target/release-v0.9.0/notes.md").read_text()
        self.assertTrue(notes.startswith("The first release.\n\n### Added\n\n- Queries.\n\n### Performance gate\n"), notes)
        self.assertNotIn("Older", notes)
        self.assertIn(f"- commit {self.head()}", notes)
        digest = hashlib.sha256((self.artifacts() / "alfred_0.9.0-1_amd64.deb").read_bytes()).hexdigest()
        self.assertIn(f"{digest}  alfred_0.9.0-1_amd64.deb", notes)
        self.assertEqual(self.made("--show-notes"), "The first release.\n\n### Added\n\n- Queries.\n")

    def test_the_push(self):
        self.commit("Second")
        self.made("--push")
        refs = dict(reversed(line.split("\t")) for line in self.published().splitlines())
        self.assertEqual(refs["refs/heads/main"], self.head())
        self.assertEqual(refs["refs/tags/v0.9.0^{}"], self.head())

    def test_another_remote(self):
        other = pathlib.Path(self.temporary.name) / "other.git"
        self.git("init", "--quiet", "--bare", str(other))
        self.git("remote", "add", "mirror", str(other))
        self.made("--push", "--remote", "mirror")
        self.assertIn("refs/tags/v0.9.0", self.git("ls-remote", "mirror"))
        self.assertNotIn("refs/tags", self.published())

    def test_notes_that_are_given_or_generated(self):
        notes = pathlib.Path(self.temporary.name) / "mine.md"
        self.refused("--notes", str(notes), what=f"there are no notes in {notes}")
        notes.write_text("By hand.\n")
        self.made("--push", "--github", "--notes", str(notes), "--generate-notes")
        create = next(line for line in self.log() if line.startswith("gh release create"))
        self.assertIn(f"--notes-file {notes} --generate-notes /", create)

    def test_a_signed_tag_where_git_signs(self):
        key = self.home / "key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
        (self.home / "signers").write_text("a@example.org " + key.with_suffix(".pub").read_text())
        for name, value in (("gpg.format", "ssh"), ("user.signingKey", str(key)),
                            ("gpg.ssh.allowedSignersFile", str(self.home / "signers"))):
            self.git("config", name, value)
        for setting in ("tag.gpgSign", "commit.gpgSign"):
            with self.subTest(setting):
                self.git("config", setting, "true")
                self.made()
                self.git("verify-tag", "v0.9.0")
                self.git("tag", "--delete", "v0.9.0")
                self.git("config", "--unset", setting)
        self.made()
        self.assertNotIn("SIGNATURE", self.git("cat-file", "tag", "v0.9.0"))


class DryRun(scratch.Scratch):
    def test_it_shows_every_step_and_changes_nothing(self):
        receiver = self.webhook(200)
        everything = (self.repo, self.remote, self.home)
        os.utime(self.repo / "Cargo.toml")  # a file that git would look at, and note so in its index
        before, refs = snapshot(*everything), self.git("for-each-ref")
        said = self.made("--dry-run", *ALL, ALFRED__NOTIFY__WEBHOOK_URL=receiver.url)
        self.assertEqual(snapshot(*everything), before)
        self.assertEqual(self.git("for-each-ref"), refs)
        self.assertEqual((self.log(), receiver.bodies), (["gh auth status"], []))
        for step in ("would run: tests", "would measure gate: 10/s for 60s",
                     "would build: packages --output target/release-v0.9.0/packages",
                     "would build: charts --owner example target/release-v0.9.0/charts", "SHA256SUMS", "from CHANGELOG.md",
                     'git tag --annotate v0.9.0 -m "agent-core v0.9.0 – perf gate green"',
                     f"would push: git push --atomic origin {self.head()}:refs/heads/main refs/tags/v0.9.0",
                     "would run: gh release create v0.9.0 --verify-tag",
                     f"would post to the webhook of ALFRED__NOTIFY__WEBHOOK_URL: {MESSAGE}"):
            self.assertIn(step, said)

    def test_after_a_release_too(self):
        receiver = self.webhook(200)
        settings = {"ALFRED__NOTIFY__WEBHOOK_URL": receiver.url}
        self.made(*ALL, **settings)
        before, asked = snapshot(self.repo, self.remote), len(self.log())
        self.made("--dry-run", *ALL, **settings)
        self.assertEqual(snapshot(self.repo, self.remote), before)
        self.assertEqual((self.log()[asked:], len(receiver.bodies)), (["gh auth status"], 1))

    def test_it_shows_the_steps_beside_what_is_wrong(self):
        self.write("new.txt", "x")
        said = self.refused("--dry-run", what="the tree is not clean: new.txt")
        self.assertIn("would run: tests", said)


class Resumed(scratch.Scratch):
    def test_nothing_is_done_twice(self):
        receiver = self.webhook(200)
        settings = {"ALFRED__NOTIFY__WEBHOOK_URL": receiver.url}
        self.made(*ALL, **settings)
        asked, tag = len(self.log()), self.git("rev-parse", "v0.9.0")
        said = self.made(*ALL, **settings)
        self.assertEqual(self.log()[asked:], ["gh auth status"])
        self.assertEqual((self.git("rev-parse", "v0.9.0"), len(receiver.bodies)), (tag, 1))
        self.assertEqual(said.count("already"), 6, said)

    def test_after_a_push_that_failed(self):
        hook = self.remote / "hooks/pre-receive"
        hook.write_text("#!/bin/sh\necho 'the disk is full' >&2\nexit 1\n")
        hook.chmod(0o755)
        code, said = self.release("--push")
        self.assertEqual(code, 1)
        self.assertIn("failed: remote: the disk is full", said)
        self.assertNotIn("refs/tags", self.published())
        tag = self.git("rev-parse", "v0.9.0")
        hook.unlink()
        self.made("--push")
        self.assertIn(f"{tag}\trefs/tags/v0.9.0", self.published())
        self.assertEqual([line.split()[0] for line in self.log()], ["tests", "gate", "packages", "charts"])

    def test_branch_and_tag_are_pushed_together_or_not_at_all(self):
        self.commit("Second")
        before = self.published()
        hook = self.remote / "hooks/update"
        hook.write_text("#!/bin/sh\n[ \"$1\" != refs/tags/v0.9.0 ]\n")
        hook.chmod(0o755)
        self.assertEqual(self.release("--push")[0], 1)
        self.assertEqual(self.published(), before)

    def test_tests_that_fail(self):
        self.refused(what="tests ended with 1", TESTS_EXIT="1")
        self.assertEqual(self.log(), ["tests"])
        self.made()
        self.assertEqual(self.log().count("tests"), 2)

    def test_tests_by_another_command_are_others(self):
        self.refused("--gate", "nowhere", what="nowhere is no run folder")
        self.made(RELEASE_TEST_COMMAND="true")
        self.made()
        self.assertEqual(self.log().count("tests"), 1)

    def test_a_new_commit_is_tested_and_measured_anew(self):
        self.refused(what="packages --output target/release-v0.9.0/packages ended with 1", PACKAGES_EXIT="1")
        self.commit("Second")
        self.made()
        self.assertEqual(self.log().count("tests"), 2)
        self.assertIn(f"gate gate-{self.head()} 10 60s", self.log())

    def test_packages_that_are_missing_or_of_another_version(self):
        self.refused(what="release-v0.9.0/packages has no *.rpm", PACKAGES_MADE="alfred_0.9.0-1_amd64.deb")
        self.refused(what="alfred_0.9.1-1_amd64.deb is not of version 0.9.0",
                     PACKAGES_MADE="alfred_0.9.1-1_amd64.deb alfred-0.9.0-1.x86_64.rpm")
        self.refused(what="made 0 charts of 0.9.0", CHARTS_MADE="agent-core-0.8.0.tgz")

    def test_packages_that_were_changed_are_built_anew(self):
        self.made()
        (self.repo / "target/release-v0.9.0/packages/alfred_0.9.0-1_amd64.deb").write_text("changed")
        self.made()
        self.assertEqual(self.log().count("packages"), 2)


class GitHub(scratch.Scratch):
    def test_it_waits_for_the_push(self):
        said = self.refused("--github", what="--github needs v0.9.0 at origin, and it is not there")
        self.assertIn("hint: add --push: scripts/release 0.9.0 --push --github", said)
        self.made("--push")
        self.made("--github")

    def test_without_gh(self):
        (self.stand_ins / "gh").unlink()
        self.refused("--push", "--github", what="--github needs gh, which is not installed",
                     PATH=f"{self.stand_ins}:/usr/bin:/bin")

    def test_not_logged_in(self):
        self.refused("--push", "--github", what="gh is not logged in: not logged in", GH_AUTH_FAILS="1")
        self.assertNotIn("tests", self.log())

    def test_one_that_fails_is_made_by_the_next_run(self):
        code, said = self.release("--push", "--github", GH_FAILS="1")
        self.assertEqual(code, 1)
        self.assertIn("error: gh release create v0.9.0 failed: HTTP 502", said)
        self.made("--push", "--github")
        self.assertEqual(sum(line.startswith("gh release create") for line in self.log()), 2)

    def test_one_that_is_there_gets_the_files(self):
        (self.stand_ins / "released").touch()
        self.made("--push", "--github")
        upload = [line for line in self.log() if line.startswith("gh release upload v0.9.0 --clobber /")]
        self.assertEqual((len(upload), upload[0].count("/artifacts/")), (1, 6), self.log())


class Notify(scratch.Scratch):
    def setUp(self):
        super().setUp()
        self.made("--push")

    def config(self, text):
        path = pathlib.Path(self.temporary.name) / "alfred.toml"
        path.write_text(text)
        return str(path)

    def test_it_waits_for_the_push(self):
        self.git("push", "--quiet", "origin", "--delete", "v0.9.0")
        receiver = self.webhook(200)
        self.refused("--notify", what="--notify needs v0.9.0 at origin", ALFRED__NOTIFY__WEBHOOK_URL=receiver.url)
        self.assertEqual(receiver.bodies, [])

    def test_the_address_may_be_in_alfreds_configuration(self):
        receiver = self.webhook(200)
        self.made("--notify", "--config", self.config(f'[notify]\nwebhook_url = "{receiver.url}"\n'))
        self.assertEqual(receiver.bodies, [{"text": MESSAGE}])

    def test_no_address(self):
        self.refused("--notify", "--config", self.config("[notify]\n"),
                     what="--notify needs a webhook, and none is configured")
        self.refused("--notify", "--config", "nowhere.toml", what="there is no nowhere.toml")
        self.refused("--notify", "--config", self.config("[notify"), what="alfred.toml is not TOML")

    def test_an_address_that_is_none(self):
        for address in (f"hooks/{scratch.SECRET}", f"ftp://127.0.0.1/{scratch.SECRET}"):
            self.refused("--notify", what="the webhook of ALFRED__NOTIFY__WEBHOOK_URL is no http or https address",
                         ALFRED__NOTIFY__WEBHOOK_URL=address)

    def test_a_bad_moment_is_waited_for(self):
        receiver = self.webhook(503, 200)
        self.made("--notify", ALFRED__NOTIFY__WEBHOOK_URL=receiver.url)
        self.assertEqual(receiver.bodies, [{"text": MESSAGE}] * 2)

    def test_a_webhook_that_does_not_take_it(self):
        for status, tries in ((404, 1), (302, 1)):
            receiver = self.webhook(status)
            self.refused("--notify", what=f"did not take the message: it answered {status}",
                         ALFRED__NOTIFY__WEBHOOK_URL=receiver.url)
            self.assertEqual(len(receiver.bodies), tries)
        receiver = self.webhook(200)
        self.made("--notify", ALFRED__NOTIFY__WEBHOOK_URL=receiver.url)
        self.assertEqual(len(receiver.bodies), 1)

    def test_nobody_there(self):
        receiver = self.webhook(200)
        receiver.server.server_close()
        self.refused("--notify", what="did not take the message: there was no answer",
                     ALFRED__NOTIFY__WEBHOOK_URL=receiver.url)

    def test_what_is_built_and_measured_does_not_know_the_address(self):
        self.commit("Second")
        self.git("tag", "--delete", "v0.9.0")
        self.git("push", "--quiet", "origin", "--delete", "v0.9.0")
        (self.stand_ins / "tests").write_text('#!/bin/sh\nenv >"$STAND_INS/environment"\n')
        self.made("--push", ALFRED__NOTIFY__WEBHOOK_URL="http://127.0.0.1:9/" + scratch.SECRET)
        self.assertNotIn(scratch.SECRET, (self.stand_ins / "environment").read_text())


if __name__ == "__main__":
    unittest.main()
