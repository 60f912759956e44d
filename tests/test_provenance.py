import subprocess

import pytest

from rim_lensing import provenance


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A repository with one tracked and one ignored file."""

    def git(*arguments):
        identity = ("-c", "user.name=a", "-c", "user.email=a@b.c")
        done = subprocess.run(
            ["git", *identity, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    git("init", "-q")
    (tmp_path / ".gitignore").write_text("installed.py\n")
    for name in ("tracked.py", "installed.py"):
        (tmp_path / name).write_text("1\n")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    return git, tmp_path


def test_commit_is_that_of_the_checkout(checkout, monkeypatch):
    git, folder = checkout
    monkeypatch.setattr(provenance, "__file__", str(folder / "tracked.py"))
    head = git("rev-parse", "HEAD")
    assert provenance.git_commit() == head[:12]
    (folder / "tracked.py").write_text("2\n")
    assert provenance.git_commit() == f"{head[:12]}-dirty"


def test_an_installed_copy_has_no_commit(checkout, monkeypatch, tmp_path_factory):
    """Neither within a repository that ignores it, nor outside of any."""
    monkeypatch.setattr(provenance, "__file__", str(checkout[1] / "installed.py"))
    assert provenance.git_commit() is None
    monkeypatch.setattr(provenance, "__file__", str(tmp_path_factory.mktemp("bare") / "a.py"))
    assert provenance.git_commit() is None
