"""The state of the sources: the tree, the branch, the versions, the tag, the remote."""

import datetime
import re

from common import Refused, answer

BRANCH = "main"
CHART = "packaging/helm/agent-core/Chart.yaml"
COMPOSE = "packaging/compose/compose.yaml"
# Shown of what is not committed.
MOST_PATHS = 5


def git(release, *arguments):
    """The answer of a git that has to succeed."""
    code, out, error = answer(["git", *arguments], release.root)
    if code:
        raise Refused(f"git {' '.join(arguments)} failed: {error}", "see that this is a git repository")
    return out


def check_tree(release):
    """Nothing is changed or new that is not committed."""
    paths = [line[3:] for line in git(release, "status", "--porcelain").splitlines()]
    if paths:
        more = f" and {len(paths) - MOST_PATHS} more" if len(paths) > MOST_PATHS else ""
        raise Refused(f"the tree is not clean: {', '.join(paths[:MOST_PATHS])}{more}",
                      "commit or stash them: git status")


def check_branch(release):
    """Releases are made of main."""
    branch = git(release, "rev-parse", "--abbrev-ref", "HEAD").strip()
    if branch != BRANCH:
        at = "no branch (detached HEAD)" if branch == "HEAD" else f"the branch {branch}"
        raise Refused(f"this is {at}, and releases are made of {BRANCH}", f"git switch {BRANCH}")


def check_commit(release):
    """Nobody committed while the release was being made."""
    head = git(release, "rev-parse", "HEAD").strip()
    if head != release.commit:
        raise Refused(f"HEAD is {head[:12]} now, and {release.commit[:12]} was tested",
                      "run scripts/release again")
    check_tree(release)


def versions(release):
    """Every place that states the version, and what it states; None where it states none."""
    def first(pattern, path):
        found = re.search(pattern, release.read(path), re.MULTILINE)
        return found and found.group(1)

    found = {
        "Cargo.toml": first(r'^version = "(.*)"', "Cargo.toml"),
        "Cargo.lock": first(r'^name = "alfred"\nversion = "(.*)"', "Cargo.lock"),
        "packaging/deb/changelog": first(r"\Aalfred \((?:\d+:)?([^)]*?)-[^-)]*\)",
                                         "packaging/deb/changelog"),
    }
    # The spec takes the version from scripts/package, which takes it from Cargo.toml.
    spec = first(r"^Version:\s*(\S+)", "packaging/rpm/alfred.spec")
    found["packaging/rpm/alfred.spec"] = found["Cargo.toml"] if spec == "%{rpm_version}" else spec
    if (release.root / "packaging/helm").is_dir():
        for key in ("version", "appVersion"):
            found[f"{CHART} ({key})"] = first(rf"^{key}:\s*[\"']?([^\"'\s#]+)", CHART)
    if (release.root / COMPOSE).exists():
        found[COMPOSE] = first(r"/alfred:(\d[^}\s\"']*)", COMPOSE)
    return found


def check_versions(release):
    """Cargo, the packages and the chart state the version that is released."""
    others = {place: stated for place, stated in versions(release).items()
              if stated != release.version}
    if others:
        stated = ", ".join(f"{place} says {version or 'nothing'}" for place, version in others.items())
        raise Refused(f"the versions do not agree with {release.version}: {stated}",
                      f"write {release.version} there and commit, or release what they say")


def changelog(release):
    """The part of the changelog about this version, without its heading."""
    text = release.read("CHANGELOG.md")
    heading = rf"^## \[{re.escape(release.version)}\] - (\d{{4}}-\d\d-\d\d)[ \t]*$"
    found = re.search(heading, text, re.MULTILINE)
    today = datetime.datetime.now(datetime.timezone.utc).date()
    if not found:
        raise Refused(f"CHANGELOG.md has no heading for {release.version} with a date",
                      f"make it: ## [{release.version}] - {today}, in place of [Unreleased]; commit")
    body = re.split(r"^## ", text[found.end():], maxsplit=1, flags=re.MULTILINE)[0].strip()
    if not body:
        raise Refused(f"CHANGELOG.md says nothing under {release.version}",
                      "write what changed for the people who run alfred, and commit")
    return body


def check_changelog(release):
    """The changelog has the version, with a date and something to say."""
    changelog(release)


def local_tag(release):
    """The tag object here, or None. One that does not stand for this commit is refused."""
    code, out, _ = answer(["git", "rev-parse", "--verify", "--quiet", f"refs/tags/{release.tag}"],
                          release.root)
    if code:
        return None
    commit = git(release, "rev-parse", f"{release.tag}^{{commit}}").strip()
    if commit != release.commit:
        raise Refused(f"the tag {release.tag} is at {commit[:12]}, and this is {release.commit[:12]}",
                      "a version is released once: raise the version")
    if git(release, "cat-file", "-t", f"refs/tags/{release.tag}").strip() != "tag":
        raise Refused(f"the tag {release.tag} says nothing of the gate: it is not annotated",
                      f"git tag --delete {release.tag}, and run scripts/release again")
    return out.strip()


def check_tag(release):
    """No tag yet, or the one that an earlier try made."""
    local_tag(release)


def remote_refs(release):
    """The names at the remote that matter, and where they are."""
    code, out, error = answer(
        ["git", "ls-remote", release.remote, f"refs/heads/{BRANCH}", f"refs/tags/{release.tag}*"],
        release.root)
    if code:
        raise Refused(f"the remote {release.remote} does not answer: {error}",
                      "see git remote -v, or name another: --remote NAME")
    return {name: commit for commit, name in (line.split("\t") for line in out.splitlines())}


def is_published(release):
    """Whether the remote has this very tag."""
    theirs = remote_refs(release).get(f"refs/tags/{release.tag}")
    return theirs is not None and theirs == local_tag(release)


def owner_of_image(release):
    """Whose account publishes the image that the chart names: as said, else the remote's on GitHub."""
    if release.owner:
        return release.owner
    for remote in (release.remote, "origin"):
        _, url, _ = answer(["git", "remote", "get-url", remote], release.root)
        if found := re.search(r"github\.com[:/]([A-Za-z0-9-]+)/", url):
            return found.group(1)
    raise Refused(f"nothing says whose image the chart names: {release.remote} is not on github.com",
                  "name the account: --owner NAME")


def check_owner(release):
    """Where there is a chart, its image has an owner."""
    if (release.root / CHART).exists():
        owner_of_image(release)


def check_remote(release):
    """The remote has nothing that a push would have to overwrite."""
    refs = remote_refs(release)
    branch = refs.get(f"refs/heads/{BRANCH}")
    if branch and answer(["git", "merge-base", "--is-ancestor", branch, release.commit],
                         release.root)[0]:
        raise Refused(f"{release.remote}/{BRANCH} is at {branch[:12]}, which is not part of this",
                      f"git pull --rebase {release.remote} {BRANCH}, and release what is tested then")
    name = f"refs/tags/{release.tag}"
    theirs, commit = refs.get(name), refs.get(f"{name}^{{}}", refs.get(name))
    if commit and commit != release.commit:
        raise Refused(f"{release.tag} is released already: {release.remote} has it at {commit[:12]}",
                      "a version is released once: raise the version")
    if theirs and theirs != local_tag(release):
        raise Refused(f"{release.remote} has another tag {release.tag} of this commit",
                      f"take that one: git fetch {release.remote} --force tag {release.tag}")
