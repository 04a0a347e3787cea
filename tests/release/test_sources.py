"""What is refused of the sources: the tree, the branch, the versions, the changelog, the tag, the remote."""

import subprocess
import sys
import unittest

import scratch


class Sources(scratch.Scratch):
    def test_what_is_no_version(self):
        for version in ("v0.9.0", "0.9", "0.9.0-rc1", "00.9.0"):
            self.refused(version=version, what=f"'{version}' is no version")

    def test_a_tree_that_is_not_clean(self):
        self.write("new.txt", "x")
        self.write("Cargo.toml", scratch.SOURCES["Cargo.toml"] + "# changed\n")
        said = self.refused(what="the tree is not clean: Cargo.toml, new.txt")
        self.assertEqual(self.log(), [], said)

    def test_another_branch_and_a_detached_head(self):
        self.git("switch", "--quiet", "--create", "topic")
        self.refused(what="this is the branch topic")
        self.git("switch", "--quiet", "--detach")
        self.refused(what="this is no branch (detached HEAD)")

    def test_versions_that_do_not_agree(self):
        for name, before, after, said in (
                ("Cargo.toml", "0.9.0", "0.9.1", "Cargo.toml says 0.9.1"),
                ("Cargo.lock", "0.9.0", "0.9.1", "Cargo.lock says 0.9.1"),
                ("packaging/deb/changelog", "0.9.0", "0.9.1", "packaging/deb/changelog says 0.9.1"),
                ("packaging/rpm/alfred.spec", "%{rpm_version}", "0.9.1", "alfred.spec says 0.9.1"),
                ("packaging/helm/agent-core/Chart.yaml", 'appVersion: "0.9.0"', "appVersion: 0.9.1",
                 "Chart.yaml (appVersion) says 0.9.1"),
                ("packaging/helm/agent-core/Chart.yaml", "version: 0.9.0", "version: 0.9.1",
                 "Chart.yaml (version) says 0.9.1"),
                ("packaging/compose/compose.yaml", "0.9.0", "0.8.0", "compose.yaml says 0.8.0"),
                ("packaging/helm/agent-core/Chart.yaml", "version: 0.9.0\n", "",
                 "Chart.yaml (version) says nothing")):
            with self.subTest(said):
                self.write(name, scratch.SOURCES[name].replace(before, after))
                self.commit(said)
                self.refused("--check", what=said)
                self.refused(what=said)
                self.write(name, scratch.SOURCES[name])
                self.commit("As before")
        self.assertEqual(self.log(), [])

    def test_another_version_than_the_sources_have(self):
        self.refused(version="0.9.1", what="Cargo.toml says 0.9.0, Cargo.lock says 0.9.0")

    def test_a_chart_is_needed_only_where_there_is_a_folder_of_charts(self):
        self.git("rm", "--quiet", "packaging/helm/agent-core/Chart.yaml")
        self.commit("No chart")
        self.made("--check")
        self.write("packaging/helm/README.md", "x")
        self.commit("A folder, and no chart")
        self.refused("--check", what="Chart.yaml (version) says nothing")

    def test_a_changelog_without_the_version_or_without_words(self):
        for heading in ("[Unreleased]: 0.9.0", "[0.9.0]"):
            self.write("CHANGELOG.md", f"# Changelog\n\n## {heading}\n\n- Queries.\n")
            self.commit(heading)
            said = self.refused(what="CHANGELOG.md has no heading for 0.9.0 with a date")
            self.assertIn("hint: make it: ## [0.9.0] - 20", said)
        self.write("CHANGELOG.md", "# Changelog\n\n## [0.9.0] - 2026-11-30\n\n## [0.8.0] - 2026-10-01\n\n- Older.\n")
        self.commit("Nothing")
        self.refused(what="CHANGELOG.md says nothing under 0.9.0")

    def test_a_chart_whose_image_nobody_publishes(self):
        elsewhere = self.repo.parent / "elsewhere.git"
        self.remote.rename(elsewhere)
        self.git("remote", "set-url", "origin", str(elsewhere))
        self.refused(what="nothing says whose image the chart names: origin is not on github.com")
        self.made("--owner", "example")

    def test_several_faults_are_told_at_once(self):
        self.write("new.txt", "x")
        said = self.refused(version="0.9.1", what="the tree is not clean")
        self.assertIn("error: the versions do not agree with 0.9.1", said)
        self.assertIn("error: CHANGELOG.md has no heading for 0.9.1", said)

    def test_a_tag_of_another_commit(self):
        self.git("tag", "--annotate", "--message", "x", "v0.9.0")
        self.commit("Second")
        self.refused(what="the tag v0.9.0 is at ")

    def test_a_tag_that_says_nothing(self):
        self.git("tag", "v0.9.0")
        self.refused(what="the tag v0.9.0 says nothing of the gate: it is not annotated")

    def test_a_commit_while_the_release_is_made(self):
        tests = self.stand_ins / "tests"
        tests.write_text("#!/bin/sh\ngit commit --quiet --allow-empty --message Meanwhile\n")
        self.refused(what="was tested")
        self.assertEqual(self.git("tag"), "")

    def test_what_is_new_in_the_tree_after_the_build(self):
        (self.stand_ins / "tests").write_text("#!/bin/sh\necho x >left-behind.txt\n")
        self.refused(what="the tree is not clean: left-behind.txt")


class Remote(scratch.Scratch):
    def other_commit(self):
        """A commit at the remote that is not here."""
        head = self.head()
        other = self.commit("Of somebody else")
        self.git("push", "--quiet", "origin", "main")
        self.git("reset", "--quiet", "--hard", head)
        return other

    def test_a_remote_that_does_not_answer(self):
        self.git("remote", "set-url", "origin", str(self.remote) + "-gone")
        self.refused("--push", what="the remote origin does not answer")
        self.refused("--push", "--remote", "nowhere", what="the remote nowhere does not answer")

    def test_a_remote_with_commits_that_are_not_here(self):
        other = self.other_commit()
        self.refused("--push", what=f"origin/main is at {other[:12]}, which is not part of this")
        self.assertEqual(self.log(), [])

    def test_a_version_that_is_released_already(self):
        self.git("tag", "--annotate", "--message", "x", "v0.9.0")
        self.git("push", "--quiet", "origin", "v0.9.0")
        self.git("tag", "--delete", "v0.9.0")
        self.refused("--push", what="origin has another tag v0.9.0 of this commit")
        released = self.head()
        self.commit("Second")
        self.refused("--push", what=f"v0.9.0 is released already: origin has it at {released[:12]}")


class ThisProject(unittest.TestCase):
    """The versions of the sources that these tests are in."""

    def test_the_versions_agree(self):
        stated = next(line.split('"')[1] for line in (scratch.ROOT / "Cargo.toml").read_text().splitlines()
                      if line.startswith("version = "))
        done = subprocess.run([sys.executable, "scripts/release", stated, "--check"], cwd=scratch.ROOT,
                              capture_output=True, text=True, timeout=scratch.TIMEOUT_S)
        # Before a release the changelog has no date yet.
        self.assertNotIn("the versions do not agree", done.stderr)
        self.assertNotIn("Traceback", done.stderr)


if __name__ == "__main__":
    unittest.main()
