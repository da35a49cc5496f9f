"""Every form in which people name a repository, and the spec that the hub receives."""

from __future__ import annotations

import subprocess
import sys

import pytest

from clinder._urls import hub_url
from clinder.errors import UsageError
from clinder.repository import Repository
from clinder.repository.parse import FORMS, ParsedTarget, parse
from clinder.repository.providers import PROVIDERS, Provider

SHA = "dc436b39f6ea56b46170624f330d57936d8452af"
ID = "8f7c2f0341ef4180b0dbe97f59130756"
LINK = "https://mybinder.org/v2/gh/org/repo/main"
BADGE = "https://mybinder.org/badge_logo.svg"

SHORTHANDS = [
    ("org/repo", "gh", "org/repo", "HEAD", "gh/org/repo/HEAD"),
    ("  org/repo  ", "gh", "org/repo", "HEAD", "gh/org/repo/HEAD"),
    ("Org/Re.Po_-1", "gh", "Org/Re.Po_-1", "HEAD", "gh/Org/Re.Po_-1/HEAD"),
    ("org/repo/", "gh", "org/repo", "HEAD", "gh/org/repo/HEAD"),
    ("o/r", "gh", "o/r", "HEAD", "gh/o/r/HEAD"),
    ("3B1b_Q-7/r", "gh", "3B1b_Q-7/r", "HEAD", "gh/3B1b_Q-7/r/HEAD"),
    ("org/repo.git", "gh", "org/repo", "HEAD", "gh/org/repo/HEAD"),
    ("org/.github", "gh", "org/.github", "HEAD", "gh/org/.github/HEAD"),
    ("org/repo@v1.0", "gh", "org/repo", "v1.0", "gh/org/repo/v1.0"),
    ("org/repo@feat/a", "gh", "org/repo", "feat/a", "gh/org/repo/feat/a"),
    ("org/repo@feat/a#1", "gh", "org/repo", "feat/a#1", "gh/org/repo/feat/a%231"),
    ("org/repo@a?b", "gh", "org/repo", "a?b", "gh/org/repo/a%3Fb"),
    ("org/repo@100%", "gh", "org/repo", "100%", "gh/org/repo/100%25"),
    ("org/repo@a%2Fb", "gh", "org/repo", "a%2Fb", "gh/org/repo/a%252Fb"),
    ("org/repo@me@home", "gh", "org/repo", "me@home", "gh/org/repo/me%40home"),
    ("org/repo@zweig-ä", "gh", "org/repo", "zweig-ä", "gh/org/repo/zweig-%C3%A4"),
    (f"org/repo@{SHA.upper()}", "gh", "org/repo", SHA, f"gh/org/repo/{SHA}"),
    # The organisation is named like a provider.
    ("gh/cli", "gh", "gh/cli", "HEAD", "gh/gh/cli/HEAD"),
    ("git/git", "gh", "git/git", "HEAD", "gh/git/git/HEAD"),
    ("ckan/ckan", "gh", "ckan/ckan", "HEAD", "gh/ckan/ckan/HEAD"),
    ("zenodo/zenodo@main", "gh", "zenodo/zenodo", "main", "gh/zenodo/zenodo/main"),
    (f"org/{ID}", "gh", f"org/{ID}", "HEAD", f"gh/org/{ID}/HEAD"),
]

SPECS = [
    ("gh/org/repo", "gh", "org/repo", "HEAD", "gh/org/repo/HEAD"),
    ("gh/org/repo/main", "gh", "org/repo", "main", "gh/org/repo/main"),
    ("gh/org/repo/main/", "gh", "org/repo", "main", "gh/org/repo/main"),
    ("gh/org/repo.git/main", "gh", "org/repo", "main", "gh/org/repo/main"),
    ("gh/org/repo/feat/a", "gh", "org/repo", "feat/a", "gh/org/repo/feat/a"),
    ("gh/org/repo/feat%2Fa%231", "gh", "org/repo", "feat/a#1", "gh/org/repo/feat/a%231"),
    ("gh/org/repo/a%3Fb", "gh", "org/repo", "a?b", "gh/org/repo/a%3Fb"),
    ("gh/org/repo/main?urlpath=lab", "gh", "org/repo", "main", "gh/org/repo/main"),
    ("gl/a%2Fb/main", "gl", "a/b", "main", "gl/a%2Fb/main"),
    ("gl/a%2Fb", "gl", "a/b", "HEAD", "gl/a%2Fb/HEAD"),
    ("gl/a%2Fb%2Fc/x/y", "gl", "a/b/c", "x/y", "gl/a%2Fb%2Fc/x/y"),
    ("gist/me/aB1", "gist", "me/aB1", "HEAD", "gist/me/aB1/HEAD"),
    ("gist/me/abc123", "gist", "me/abc123", "HEAD", "gist/me/abc123/HEAD"),
    ("gist/me/abc123/main", "gist", "me/abc123", "main", "gist/me/abc123/main"),
    ("gist/me/abc123/master", "gist", "me/abc123", "master", "gist/me/abc123/master"),
    (f"gist/me/abc123/{SHA}", "gist", "me/abc123", SHA, f"gist/me/abc123/{SHA}"),
    (
        "git/git%40h.org%3Ao%2Fr.git/main",
        "git",
        "ssh://git@h.org/o/r.git",
        "main",
        "git/ssh%3A%2F%2Fgit%40h.org%2Fo%2Fr.git/main",
    ),
    (
        "git/ssh%3A%2F%2Fgit@h.org%2Fr/feat/a",
        "git",
        "ssh://git@h.org/r",
        "feat/a",
        "git/ssh%3A%2F%2Fgit%40h.org%2Fr/feat/a",
    ),
    (
        "git/file%3A%2F%2Flocalhost%2FX/main",
        "git",
        "file://localhost/X",
        "main",
        "git/file%3A%2F%2Flocalhost%2FX/main",
    ),
    ("zenodo/10.5281/zenodo.1/", "zenodo", "10.5281/zenodo.1", "", "zenodo/10.5281/zenodo.1"),
    ("zenodo/10.5281%2Fzenodo.1", "zenodo", "10.5281/zenodo.1", "", "zenodo/10.5281/zenodo.1"),
    ("dataverse/10.1234/X/Y", "dataverse", "10.1234/X/Y", "", "dataverse/10.1234/X/Y"),
    (f"hydroshare/{ID}", "hydroshare", ID, "", f"hydroshare/{ID}"),
    (f"hydroshare/{ID.upper()}", "hydroshare", ID, "", f"hydroshare/{ID}"),
    (f"hydroshare/10.4211/hs.{ID}", "hydroshare", ID, "", f"hydroshare/{ID}"),
]

GITHUB = "https://github.com/org/repo"
GITLAB = "https://gitlab.com/a/b/c"
PAGES = [
    (GITHUB, "gh", "org/repo", "HEAD"),
    ("http://www.github.com/org/repo/", "gh", "org/repo", "HEAD"),
    ("github.com/org/repo", "gh", "org/repo", "HEAD"),
    (f"{GITHUB}.git", "gh", "org/repo", "HEAD"),
    (f"{GITHUB}?tab=readme-ov-file#install", "gh", "org/repo", "HEAD"),
    (f"{GITHUB}/tree/main/", "gh", "org/repo", "main"),
    (f"{GITHUB}/tree/feat/a%231?x=y#z", "gh", "org/repo", "feat/a#1"),
    (f"{GITHUB}/tree/a%3Fb%25", "gh", "org/repo", "a?b%"),
    (f"{GITHUB}/tree/v2/gh/x/y", "gh", "org/repo", "v2/gh/x/y"),
    (f"{GITHUB}/commit/{SHA}", "gh", "org/repo", SHA),
    (f"{GITHUB}/blob/main/a/b.ipynb", "gh", "org/repo", "main"),
    (f"{GITHUB}/releases/tag/v1.0", "gh", "org/repo", "v1.0"),
    ("https://me:hunter2@github.com/org/repo.git", "gh", "org/repo", "HEAD"),
    ("git@github.com:org/repo.git", "gh", "org/repo", "HEAD"),
    ("ssh://git@github.com/org/repo.git", "gh", "org/repo", "HEAD"),
    ("ssh://git@ssh.github.com:443/org/repo.git", "gh", "org/repo", "HEAD"),
    ("git://github.com/org/repo.git", "gh", "org/repo", "HEAD"),
    (GITLAB, "gl", "a/b/c", "HEAD"),
    (f"{GITLAB}.git", "gl", "a/b/c", "HEAD"),
    (f"{GITLAB}/-/tree/feat/x?ref_type=heads", "gl", "a/b/c", "feat/x"),
    (f"{GITLAB}/-/tree/x/-/tree/y", "gl", "a/b/c", "x/-/tree/y"),
    (f"{GITLAB}/-/commit/{SHA}", "gl", "a/b/c", SHA),
    (f"{GITLAB}/-/tags/v1", "gl", "a/b/c", "v1"),
    (f"{GITLAB}/-/blob/main/a/b.md", "gl", "a/b/c", "main"),
    (f"{GITLAB}/tree/main", "gl", "a/b/c", "main"),
    (f"{GITLAB}/blob/main/a/b.md", "gl", "a/b/c", "main"),
    ("https://gitlab.com/a.b/c+d/e-f_1", "gl", "a.b/c+d/e-f_1", "HEAD"),
    ("https://gitlab.com/a+b-c/d.e", "gl", "a+b-c/d.e", "HEAD"),
    ("https://gitlab.com/a/legit", "gl", "a/legit", "HEAD"),
    ("https://gitlab.com/a/bc/tree/x/tree/y", "gl", "a/bc", "x/tree/y"),
    ("https://gitlab.com/ab/tree/x", "gl", "ab/tree/x", "HEAD"),
    ("https://gitlab.com/a/b/trees/x", "gl", "a/b/trees/x", "HEAD"),
    ("git@gitlab.com:a/b/c.git", "gl", "a/b/c", "HEAD"),
    ("https://www.gitlab.com/a/b/c", "gl", "a/b/c", "HEAD"),
    ("ssh://git@altssh.gitlab.com:443/a/b/c.git", "gl", "a/b/c", "HEAD"),
    ("https://gist.github.com/me/abc123", "gist", "me/abc123", "HEAD"),
    ("https://gist.github.com/me/abc123.git", "gist", "me/abc123", "HEAD"),
    ("https://gist.github.com/me/abc123/revisions", "gist", "me/abc123", "HEAD"),
    (f"https://gist.github.com/me/abc123/{SHA}#file-x", "gist", "me/abc123", SHA),
    ("https://h.org/o/r.git", "git", "https://h.org/o/r.git", "HEAD"),
    ("https://H.org:8443/o/R/?a=b#c", "git", "https://h.org:8443/o/R", "HEAD"),
    ("https://me:hunter2@h.org/o/r", "git", "https://h.org/o/r", "HEAD"),
    ("https://hunter2@h.org/o/r", "git", "https://h.org/o/r", "HEAD"),
    ("https://h.org/v2/tools.git", "git", "https://h.org/v2/tools.git", "HEAD"),
    ("https://h.org/v2/tools/x.git", "git", "https://h.org/v2/tools/x.git", "HEAD"),
    ("https://h.org/dataset/x.git", "git", "https://h.org/dataset/x.git", "HEAD"),
    ("https://[2001:db8::1]/o/r", "git", "https://[2001:db8::1]/o/r", "HEAD"),
    ("git@h.org:o/r.git", "git", "ssh://git@h.org/o/r.git", "HEAD"),
    ("a.b-c@h.org:/o/r.git", "git", "ssh://a.b-c@h.org/o/r.git", "HEAD"),
    ("u@h:o/r", "git", "ssh://u@h/o/r", "HEAD"),
    ("git@my-host.org:o/r", "git", "ssh://git@my-host.org/o/r", "HEAD"),
    ("ssh://h.org/o/r.git", "git", "ssh://h.org/o/r.git", "HEAD"),
    ("ssh://-oX@h.org/o/r.git", "git", "ssh://h.org/o/r.git", "HEAD"),
    ("https://[::ffff:10.0.0.1]/o/r", "git", "https://[::ffff:10.0.0.1]/o/r", "HEAD"),
    ("ssh://git:hunter2@h.org:22/o/r.git", "git", "ssh://git@h.org:22/o/r.git", "HEAD"),
    ("https://gl.h.org/a/b/-/tree/x/y", "git", "https://gl.h.org/a/b.git", "x/y"),
    ("http://gl.h.org/a/b/-/tree/x", "git", "http://gl.h.org/a/b.git", "x"),
    ("https://gl.h.org/a/b/-/tree/v2/gh/y", "git", "https://gl.h.org/a/b.git", "v2/gh/y"),
    ("https://h.org/o/mypulls/3", "git", "https://h.org/o/mypulls/3", "HEAD"),
    ("https://h.org/o/pulls/x", "git", "https://h.org/o/pulls/x", "HEAD"),
    ("https://h.org/o/pulls/3x", "git", "https://h.org/o/pulls/3x", "HEAD"),
    ("https://h.org/o/mysrc/tag/v1", "git", "https://h.org/o/mysrc/tag/v1", "HEAD"),
    ("https://h.org/xv2/gh/o/r", "git", "https://h.org/xv2/gh/o/r", "HEAD"),
    ("https://h.org/o/r/src/tag/x/src/tag/y", "git", "https://h.org/o/r", "x/src/tag/y"),
    ("https://codeberg.org/o/r/src/tag/v1", "git", "https://codeberg.org/o/r", "v1"),
    ("https://codeberg.org/o/r/src/branch/x/y", "git", "https://codeberg.org/o/r", "x/y"),
    (f"https://codeberg.org/o/r/src/commit/{SHA}", "git", "https://codeberg.org/o/r", SHA),
]

RAW = "https://raw.githubusercontent.com/org/repo"
BITBUCKET = "https://bitbucket.org/o/r"
CODEBERG = "https://codeberg.org/o/r"
AZURE = "https://dev.azure.com/o/My%20Project/_git/r"
HF = "https://huggingface.co"
NBVIEWER = "https://nbviewer.org"
COLAB = "https://colab.research.google.com"
SR_HT = "https://git.sr.ht/~u/r"
STASH = "https://stash.h.org/x"
# The pages of the most common hosts, with the links that their buttons copy.
HOST_PAGES = [
    (f"{GITHUB}/blob/refs/heads/main/a/b.ipynb", "gh", "org/repo", "main"),
    (f"{GITHUB}/blob/refs/tags/v1/b.ipynb", "gh", "org/repo", "v1"),
    (f"{GITHUB}/tree/refs/heads/feat/a", "gh", "org/repo", "feat/a"),
    (f"{GITHUB}/tree/refs/heads", "gh", "org/repo", "refs/heads"),
    (f"{GITHUB}/raw/main/a.ipynb", "gh", "org/repo", "main"),
    (f"{GITHUB}/raw/refs/heads/main/a.ipynb", "gh", "org/repo", "main"),
    (f"{GITHUB}/blame/main/a.py#L3", "gh", "org/repo", "main"),
    (f"{GITHUB}/edit/main/README.md", "gh", "org/repo", "main"),
    (f"{GITHUB}/commits/main/", "gh", "org/repo", "main"),
    (f"{GITHUB}/commits/refs/heads/main", "gh", "org/repo", "main"),
    (f"{GITHUB}/commit/{SHA}.patch", "gh", "org/repo", SHA),
    (f"{GITHUB}/commit/{SHA}/checks", "gh", "org/repo", SHA),
    (f"{GITHUB}/archive/refs/heads/feat/a.zip", "gh", "org/repo", "feat/a"),
    (f"{GITHUB}/archive/refs/tags/v1.0.tar.gz", "gh", "org/repo", "v1.0"),
    (f"{GITHUB}/archive/{SHA}.zip", "gh", "org/repo", SHA),
    (f"{GITHUB}/zipball/v1.0", "gh", "org/repo", "v1.0"),
    (f"{GITHUB}/releases/download/v1.0/data.zip", "gh", "org/repo", "v1.0"),
    ("https://github.dev/org/repo/blob/main/a.ipynb", "gh", "org/repo", "main"),
    (f"{RAW}/main/a/b.ipynb", "gh", "org/repo", "main"),
    (f"{RAW}/refs/heads/main/b.ipynb", "gh", "org/repo", "main"),
    (f"{RAW}/{SHA}/b.ipynb?token=hunter2", "gh", "org/repo", SHA),
    ("raw.githubusercontent.com/org/repo/main/environment.yml", "gh", "org/repo", "main"),
    ("https://codeload.github.com/org/repo/zip/refs/heads/feat/a", "gh", "org/repo", "feat/a"),
    (f"{NBVIEWER}/github/org/repo/blob/main/a/b.ipynb", "gh", "org/repo", "main"),
    (f"{NBVIEWER}/github/org/repo/tree/main/", "gh", "org/repo", "main"),
    (f"{NBVIEWER}/github/org/repo", "gh", "org/repo", "HEAD"),
    ("https://nbviewer.jupyter.org/github/org/repo/blob/v1/a.ipynb", "gh", "org/repo", "v1"),
    (f"{NBVIEWER}/gist/me/abc123", "gist", "me/abc123", "HEAD"),
    (f"{NBVIEWER}/gist/me/abc123/{SHA}", "gist", "me/abc123", SHA),
    (f"{NBVIEWER}/urls/raw.githubusercontent.com/org/repo/v1/a.ipynb", "gh", "org/repo", "v1"),
    (f"{COLAB}/github/org/repo/blob/main/a.ipynb", "gh", "org/repo", "main"),
    (f"{COLAB}/gist/me/abc123/a.ipynb", "gist", "me/abc123", "HEAD"),
    ("https://githubtocolab.com/org/repo/blob/main/a.ipynb", "gh", "org/repo", "main"),
    (f"{GITLAB}/-/raw/main/a/b.md", "gl", "a/b/c", "main"),
    (f"{GITLAB}/-/raw/main/a.ipynb?inline=false", "gl", "a/b/c", "main"),
    (f"{GITLAB}/-/blame/v1/b.md", "gl", "a/b/c", "v1"),
    (f"{GITLAB}/-/commits/main?ref_type=heads", "gl", "a/b/c", "main"),
    (f"{GITLAB}/-/releases/v1", "gl", "a/b/c", "v1"),
    (f"{GITLAB}/-/archive/feat/x/c-feat-x.zip", "gl", "a/b/c", "feat/x"),
    (f"{GITLAB}/raw/main/a.ipynb", "gl", "a/b/c", "main"),
    (f"{GITLAB}/commits/main", "gl", "a/b/c", "main"),
    (f"{GITLAB}/commit/{SHA}", "gl", "a/b/c", SHA),
    ("https://gitlab.com/a/b/commit/x", "gl", "a/b/commit/x", "HEAD"),
    ("https://gl.h.org/a/b/-/raw/main/x.md", "git", "https://gl.h.org/a/b.git", "main"),
    (f"{BITBUCKET}/src/main/", "git", BITBUCKET, "main"),
    (f"{BITBUCKET}/src/feature%2Fx/a.ipynb", "git", BITBUCKET, "feature/x"),
    (f"{BITBUCKET}/src/1f2e3d4c5b6a/a.py?at=feature%2Fx", "git", BITBUCKET, "feature/x"),
    (f"{BITBUCKET}/src/{SHA}/a.py?at=main", "git", BITBUCKET, SHA),
    (f"{BITBUCKET}/src", "git", BITBUCKET, "HEAD"),
    (f"{BITBUCKET}/branch/feature/x", "git", BITBUCKET, "feature/x"),
    (f"{BITBUCKET}/commits/{SHA}", "git", BITBUCKET, SHA),
    (f"{BITBUCKET}/commits/tag/v1", "git", BITBUCKET, "v1"),
    (f"{BITBUCKET}/raw/{SHA}/a.ipynb", "git", BITBUCKET, SHA),
    (f"{BITBUCKET}/get/v1.zip", "git", BITBUCKET, "v1"),
    ("https://me@bitbucket.org/o/r.git", "git", f"{BITBUCKET}.git", "HEAD"),
    ("bitbucket.org/o/r", "git", BITBUCKET, "HEAD"),
    ("git@bitbucket.org:o/r.git", "git", "ssh://git@bitbucket.org/o/r.git", "HEAD"),
    (f"{STASH}/projects/P/repos/r/browse", "git", f"{STASH}/scm/P/r.git", "HEAD"),
    (
        f"{STASH}/users/me/repos/r/browse/a.py?at=refs%2Fheads%2Ffeat%2Fx",
        "git",
        f"{STASH}/scm/~me/r.git",
        "feat/x",
    ),
    (f"{STASH}/projects/P/repos/r/commits/{SHA}", "git", f"{STASH}/scm/P/r.git", SHA),
    (f"{CODEBERG}/commit/{SHA}", "git", CODEBERG, SHA),
    (f"{CODEBERG}/releases/tag/v1", "git", CODEBERG, "v1"),
    (f"{CODEBERG}/raw/branch/main/a.ipynb", "git", CODEBERG, "main"),
    (f"{CODEBERG}/raw/commit/{SHA}/a.ipynb", "git", CODEBERG, SHA),
    (f"{CODEBERG}/src/commit/{SHA}/a/b.ipynb", "git", CODEBERG, SHA),
    (f"{CODEBERG}/commits/branch/main", "git", CODEBERG, "main"),
    (f"{CODEBERG}/archive/v1.tar.gz", "git", CODEBERG, "v1"),
    ("codeberg.org/o/r/src/branch/main", "git", CODEBERG, "main"),
    ("https://git.h.org/forgejo/o/r/src/tag/v1", "git", "https://git.h.org/forgejo/o/r", "v1"),
    (f"{AZURE}?path=/a.ipynb&version=GBfeat%2Fx&_a=contents", "git", AZURE, "feat/x"),
    (f"{AZURE}?version=GTv1", "git", AZURE, "v1"),
    (f"{AZURE}?version=GC{SHA}", "git", AZURE, SHA),
    (f"{AZURE}?path=/a.ipynb", "git", AZURE, "HEAD"),
    (f"{AZURE}/commit/{SHA}?refName=refs/heads/main", "git", AZURE, SHA),
    ("https://o@dev.azure.com/o/p/_git/r", "git", "https://dev.azure.com/o/p/_git/r", "HEAD"),
    (
        "https://o.visualstudio.com/_git/r?version=GBx",
        "git",
        "https://o.visualstudio.com/_git/r",
        "x",
    ),
    ("http://tfs.h:8080/c/p/_git/r?version=GBx", "git", "http://tfs.h:8080/c/p/_git/r", "x"),
    (f"{HF}/org/model/tree/main", "git", f"{HF}/org/model", "main"),
    (f"{HF}/datasets/org/data/tree/main/sub", "git", f"{HF}/datasets/org/data", "main"),
    (f"{HF}/spaces/org/app/blob/main/app.py", "git", f"{HF}/spaces/org/app", "main"),
    (f"{HF}/org/model/resolve/v1/a.bin?download=true", "git", f"{HF}/org/model", "v1"),
    (f"{HF}/org/model/tree/refs%2Fpr%2F1", "git", f"{HF}/org/model", "refs/pr/1"),
    (f"{HF}/gpt2/tree/main", "git", f"{HF}/gpt2", "main"),
    (f"{HF}/datasets/org/data", "git", f"{HF}/datasets/org/data", "HEAD"),
    (f"{HF}/org/model/commit/{SHA}", "git", f"{HF}/org/model", SHA),
    ("hf.co/org/model", "git", "https://hf.co/org/model", "HEAD"),
    (f"{SR_HT}/tree/main/item/a/b.py", "git", SR_HT, "main"),
    (f"{SR_HT}/tree/feat/x", "git", SR_HT, "feat/x"),
    (f"{SR_HT}/commit/{SHA}", "git", SR_HT, SHA),
    (f"{SR_HT}/refs/v1", "git", SR_HT, "v1"),
    (f"{SR_HT}/archive/v1.tar.gz", "git", SR_HT, "v1"),
    (SR_HT, "git", SR_HT, "HEAD"),
    ("https://ghe.h.org/o/r/tree/feat/x", "git", "https://ghe.h.org/o/r", "feat/x"),
    ("https://ghe.h.org/o/r/blob/main/a/b.ipynb", "git", "https://ghe.h.org/o/r", "main"),
    ("https://ghe.h.org/o/r/blob/refs/heads/main/b.py", "git", "https://ghe.h.org/o/r", "main"),
    (f"https://ghe.h.org/o/r/commit/{SHA}", "git", "https://ghe.h.org/o/r", SHA),
    ("https://ghe.h.org/o/r/releases/tag/v1", "git", "https://ghe.h.org/o/r", "v1"),
    ("https://ghe.h.org/o/r/archive/refs/tags/v1.zip", "git", "https://ghe.h.org/o/r", "v1"),
    ("https://gitee.com/o/r/tree/master/", "git", "https://gitee.com/o/r", "master"),
    ("https://h.org/o/tree/x", "git", "https://h.org/o/tree/x", "HEAD"),
    ("https://h.org/o/r/commit/x", "git", "https://h.org/o/r/commit/x", "HEAD"),
    ("https://h.org/o/r/tree/x.git", "git", "https://h.org/o/r/tree/x.git", "HEAD"),
    ("https://h.org/a/b.git/tree/src?h=feat/x", "git", "https://h.org/a/b.git", "feat/x"),
    (f"https://h.org/a/b.git/commit/?id={SHA}", "git", "https://h.org/a/b.git", SHA),
    ("https://h.org/a/b.git/about/", "git", "https://h.org/a/b.git", "HEAD"),
    (
        "https://x.googlesource.com/a/b/+/refs/heads/main/c",
        "git",
        "https://x.googlesource.com/a/b",
        "main",
    ),
]

DOIS = [
    ("10.5281/zenodo.3242074", "zenodo", "10.5281/zenodo.3242074"),
    ("doi:10.5281/zenodo.3242074", "zenodo", "10.5281/zenodo.3242074"),
    ("DOI:10.5281/zenodo.3242074", "zenodo", "10.5281/zenodo.3242074"),
    ("https://doi.org/10.5281/zenodo.3242074", "zenodo", "10.5281/zenodo.3242074"),
    ("https://www.doi.org/10.5281/zenodo.3242074", "zenodo", "10.5281/zenodo.3242074"),
    ("http://dx.doi.org/10.5281%2Fzenodo.3242074", "zenodo", "10.5281/zenodo.3242074"),
    ("https://www.zenodo.org/records/123", "zenodo", "10.5281/zenodo.123"),
    ("https://zenodo.org/records/123", "zenodo", "10.5281/zenodo.123"),
    ("https://zenodo.org/record/123/files/a.zip?download=1", "zenodo", "10.5281/zenodo.123"),
    ("https://zenodo.org/doi/10.5281/zenodo.123", "zenodo", "10.5281/zenodo.123"),
    ("10.6084/m9.figshare.9782777.v1", "figshare", "10.6084/m9.figshare.9782777.v1"),
    ("10.6084/m9.another.1", "figshare", "10.6084/m9.another.1"),
    ("10.25452/figshare.plus.1", "figshare", "10.25452/figshare.plus.1"),
    ("10.17608/k6.auckland.figshare.1", "figshare", "10.17608/k6.auckland.figshare.1"),
    ("https://figshare.com/articles/t/2020/9784088", "figshare", "10.6084/m9.figshare.9784088"),
    ("https://www.figshare.com/articles/t/9784088", "figshare", "10.6084/m9.figshare.9784088"),
    ("https://figshare.com/articles/t/9784088/12", "figshare", "10.6084/m9.figshare.9784088.v12"),
    ("10.7910/DVN/TJCLKP", "dataverse", "10.7910/DVN/TJCLKP"),
    (
        "https://dataverse.harvard.edu/dataset.xhtml?persistentId=doi:10.7910/DVN/TJCLKP",
        "dataverse",
        "10.7910/DVN/TJCLKP",
    ),
    (
        "https://dataverse.harvard.edu/file.xhtml?persistentId=doi:10.7910/DVN/TJCLKP/3MJ7IR",
        "dataverse",
        "10.7910/DVN/TJCLKP",
    ),
    ("https://zenodo.org/badge/DOI/10.5281/zenodo.123.svg", "zenodo", "10.5281/zenodo.123"),
    ("https://zenodo.org/api/records/123/files/a.zip", "zenodo", "10.5281/zenodo.123"),
    (f"10.4211/hs.{ID}", "hydroshare", ID),
    (f"https://www.hydroshare.org/resource/{ID}/", "hydroshare", ID),
    (f"https://hydroshare.org/resource/{ID}/", "hydroshare", ID),
    ("https://c.org/dataset/x/", "ckan", "https://c.org/dataset/x"),
    ("http://c.org/dataset/X", "ckan", "http://c.org/dataset/X"),
    (
        "https://u:hunter2@c.org/en/dataset/x?activity_id=7&token=hunter2#t",
        "ckan",
        "https://c.org/en/dataset/x?activity_id=7",
    ),
    ("https://c.org/dataset/x?activity_id=/", "ckan", "https://c.org/dataset/x?activity_id=%2F"),
    ("https://c.org/dataset/groups/x", "ckan", "https://c.org/dataset/x"),
    ("https://c.org/en/dataset/activity/x", "ckan", "https://c.org/en/dataset/x"),
    ("https://c.org/dataset/groups", "ckan", "https://c.org/dataset/groups"),
]

LINKS = [
    (LINK, "gh/org/repo/main", "https://mybinder.org/"),
    (f"{LINK}?urlpath=lab%2Ftree%2Fa.ipynb#x", "gh/org/repo/main", "https://mybinder.org/"),
    ("mybinder.org/v2/gh/org/repo/main", "gh/org/repo/main", "https://mybinder.org/"),
    ("http://127.0.0.1:8585/v2/gh/o/r/x", "gh/o/r/x", "http://127.0.0.1:8585/"),
    ("localhost:8585/v2/gh/o/r/x", "gh/o/r/x", "http://localhost:8585/"),
    ("https://h.org/a/b/v2/gl/a%2Fb/x%2Fy", "gl/a%2Fb/x/y", "https://h.org/a/b/"),
    ("https://h.org/build/gh/o/r/v2/gl/x", "gh/o/r/v2/gl/x", "https://h.org/"),
    ("https://h.org/a/v2/gh/o/r/v2/gl/x", "gh/o/r/v2/gl/x", "https://h.org/a/"),
    ("https://h.org/v2/gh/o/r.git", "gh/o/r/HEAD", "https://h.org/"),
    ("https://h.org/v2/zenodo/10.5281/z.1/?urlpath=lab", "zenodo/10.5281/z.1", "https://h.org/"),
    (
        f"https://h.org/v2/hydroshare/https://www.hydroshare.org/resource/{ID}",
        f"hydroshare/{ID}",
        "https://h.org/",
    ),
    ("https://me:hunter2@h.org/v2/gh/o/r/x", "gh/o/r/x", "https://h.org/"),
    (
        "https://h.org/v2/git/git@g.org:o/main",  # one slash, so the hub reads the same
        "git/ssh%3A%2F%2Fgit%40g.org%2Fo/main",
        "https://h.org/",
    ),
    # Links from before 2017, which lead to a hub's LegacyRedirectHandler.
    ("http://mybinder.org/repo/org/repo", "gh/org/repo/master", "https://mybinder.org/"),
    (
        "http://mybinder.org:/repo/org/repo/notebooks/a.ipynb",
        "gh/org/repo/master",
        "https://mybinder.org/",
    ),
    ("mybinder.org/repo/org/repo", "gh/org/repo/master", "https://mybinder.org/"),
    ("https://h.org/binder/repo/o/r", "git/https%3A%2F%2Fh.org%2Fbinder%2Frepo%2Fo%2Fr/HEAD", ""),
    ("https://binder.h.org/x/repo/o/r", "gh/o/r/master", "https://binder.h.org/x/"),
    ("http://mybinder.org/v2/gh/org/repo/main", "gh/org/repo/main", "https://mybinder.org/"),
    ("http://h.org/v2/gh/org/repo/main", "gh/org/repo/main", "http://h.org/"),
    # Text around a link.
    (f"# Demo [![Binder]({BADGE})]({LINK})", "gh/org/repo/main", "https://mybinder.org/"),
    (f"- Try it: {LINK}.", "gh/org/repo/main", "https://mybinder.org/"),
    (f"1. [Launch]({LINK}), then wait", "gh/org/repo/main", "https://mybinder.org/"),
    (f"| Demo | [![B]({BADGE})]({LINK}) |", "gh/org/repo/main", "https://mybinder.org/"),
    (f"|Demo|{LINK}|x|", "gh/org/repo/main", "https://mybinder.org/"),
    (f"Launch it `here <{LINK}>`_.", "gh/org/repo/main", "https://mybinder.org/"),
    (f"`here <{LINK}>`__", "gh/org/repo/main", "https://mybinder.org/"),
    (f"**{LINK}**", "gh/org/repo/main", "https://mybinder.org/"),
    (f"`{LINK}`", "gh/org/repo/main", "https://mybinder.org/"),
    (f'{{{{< button href="{LINK}" >}}}}', "gh/org/repo/main", "https://mybinder.org/"),
    (f"{{{{% binder {LINK} %}}}}", "gh/org/repo/main", "https://mybinder.org/"),
    (f".. |b| image:: {BADGE}\n   :target: {LINK}", "gh/org/repo/main", "https://mybinder.org/"),
    (f"image:{BADGE}[link={LINK}]", "gh/org/repo/main", "https://mybinder.org/"),
    (f"{LINK}[Launch]", "gh/org/repo/main", "https://mybinder.org/"),
    (f"\\href{{{LINK}}}{{Launch}}", "gh/org/repo/main", "https://mybinder.org/"),
    (f'<td>\n<a class="x" href="{LINK}">', "gh/org/repo/main", "https://mybinder.org/"),
    (
        f"See https://github.com/org/repo/tree/v1 or {LINK}",
        "gh/org/repo/main",
        "https://mybinder.org/",
    ),
    (
        f"The API is at https://h.org/v2/users/me, {LINK}",
        "gh/org/repo/main",
        "https://mybinder.org/",
    ),
    (f"{LINK} and {LINK}?urlpath=lab", "gh/org/repo/main", "https://mybinder.org/"),
    ("Try [it](http://mybinder.org/repo/org/repo)!", "gh/org/repo/master", "https://mybinder.org/"),
    (f"[![Binder]({BADGE})]({LINK}?urlpath=lab)", "gh/org/repo/main", "https://mybinder.org/"),
    (f"\n [![Binder]({BADGE})]({LINK})", "gh/org/repo/main", "https://mybinder.org/"),
    ("[x](http://localhost:1/v2/gh/o/r/x)", "gh/o/r/x", "http://localhost:1/"),
    (f"<{LINK}>", "gh/org/repo/main", "https://mybinder.org/"),
    (f"<a href='{LINK}'>", "gh/org/repo/main", "https://mybinder.org/"),
    (f"[x][y]\n\n[y]: {LINK}[z]", "gh/org/repo/main", "https://mybinder.org/"),
    (f"![x]({BADGE}) {LINK}", "gh/org/repo/main", "https://mybinder.org/"),
    (
        f'<a href="{LINK}&amp;1?a=b&amp;c=d"><img src="{BADGE}"></a>',
        "gh/org/repo/main%261",
        "https://mybinder.org/",
    ),
    (f".. image:: {BADGE}\n   :target: {LINK}\n", "gh/org/repo/main", "https://mybinder.org/"),
]

REFUSALS = [
    ("", "names no repository"),
    ("repo", "names no repository"),
    (".", "a path on this machine"),
    ("./repo", "a path on this machine"),
    ("~/repo", "a path on this machine"),
    ("/home/me/repo", "a path on this machine"),
    ("../me/repo", "a path on this machine"),
    ("org/repo/main", "begins with none of gh, gl"),
    ("org/repo/main@x", "begins with none of gh, gl"),
    ("https:/github.com/org/repo", "begins with none of gh, gl"),
    ("me@https://h.org/o/r", "begins with none of gh, gl"),
    ("git@h.org:", "names no repository"),
    ("-oX@h.org:o/r", "gh/ORG/REPO"),
    ("git@-oX:o/r", "gh/ORG/REPO"),
    ("org/repo@", "no ref after the @"),
    ("org_/..", "gh/ORG/REPO"),
    ("-org/repo", "gh/ORG/REPO"),
    ("_org/repo", "gh/ORG/REPO"),
    ("o.g/repo", "gh/ORG/REPO"),
    ("org/.git", "gh/ORG/REPO"),
    ("org/r.git.git", "gh/ORG/REPO"),
    ("örg/repo", "gh/ORG/REPO"),
    ("org/re po", "The text 'org/re po' contains spaces"),
    ("org/repo\n", "control"),
    ("org/repo@a\x85b", "control"),
    ("org/repo@a\u2028b", "control"),
    ("org/repo@a\u202eb", "control"),
    ("gh/org/re%20po/a", "The name 'org/re po' contains spaces"),
    ("gh/org/repo/a%20b", "The ref 'a b' contains spaces"),
    ("gh/org/repo/a%0Ab", "control"),
    ("gh/org/repo/a%ffb", "not as UTF-8"),
    ("gh//repo/main", "gh/ORG/REPO"),
    ("gh/owner%2Frepo/main", "gh/ORG/REPO"),
    ("gh/org/../main", "gh/ORG/REPO"),
    ("gh/org/%2e%2e/main", "gh/ORG/REPO"),
    ("gl/b/main", "whole namespace"),
    ("gl/a/b/main", "whole namespace"),
    ("gl/a/b@main", "whole namespace"),
    ("gl/a%2F..%2Fb/main", "gl/NAMESPACE"),
    ("gl/a%2F%C3%A4/main", "gl/NAMESPACE"),
    ("https://gitlab.com/a", "gl/NAMESPACE"),
    ("https://gitlab.com/a/-b", "gl/NAMESPACE"),
    ("https://gitlab.com/-a/b", "gl/NAMESPACE"),
    ("https://gitlab.com/a/b.git.git", "gl/NAMESPACE"),
    ("https://gist.github.com/me/abc-1", "gist/USER/ID"),
    ("gist/me/abc123/v1", "HEAD or a full commit"),
    ("git/https://h.org/r.git/HEAD", "must be percent-encoded"),
    ("git/git@h.org:o/r.git", "not a ref"),
    ("git/main/x", "not a URL"),
    ("git/h.org/o/r.git", "not a URL"),
    ("https://h.org/v2/git/git@h.org:o/r.git/main", "must be percent-encoded"),
    ("git/file%3A%2F%2Fh%2Fx/HEAD", "file"),
    ("git/https%3A%2F%2Fh.org/HEAD", "git/URL/REF"),
    ("git/https%3A%2F%2Fh.org%2F/HEAD", "git/URL/REF"),
    ("zenodo/10.5281/../x", "zenodo/DOI"),
    ("zenodo/123/456", "zenodo/DOI"),
    ("figshare/123/456", "figshare/DOI"),
    ("dataverse/123/456", "dataverse/DOI"),
    ("hydroshare/x/y", "hydroshare/ID"),
    (f"hydroshare/x/0{ID}", "hydroshare/ID"),
    (f"hydroshare/x/{ID}0", "hydroshare/ID"),
    (f"hydroshare/x/b{ID}", "hydroshare/ID"),
    (f"hydroshare/x/{ID}b", "hydroshare/ID"),
    (f"hydroshare/x/{32 * 'g'}", "hydroshare/ID"),
    ("ckan/https%3A%2F%2Fc.org%2Fx", "ckan/URL"),
    ("ckan/https%3A%2F%2Fc.org%2Fdataset%2F", "ckan/URL"),
    ("https://c.org/dataset/x?activity_id=a%20b", "The activity 'a b' contains spaces"),
    ("10.9999/abc", "its archive"),
    ("10.5281/", "names no repository"),
    ("10.52811", "names no repository"),
    ("https://doi.org/abc", "The page '/abc' does not identify"),
    ("https://github.com", "no path"),
    ("https://github.com/org", "gh/ORG/REPO"),
    (f"{GITHUB}/issues/1", "The page '/org/repo/issues/1' does not identify"),
    (f"{GITHUB}/pull/12/files", "pull or merge request"),
    (f"{GITLAB}/-/merge_requests/3", "pull or merge request"),
    (f"{GITLAB}/-/issues", "The page '/a/b/c/-/issues' does not identify"),
    (f"{GITLAB}/-/tree", "does not identify"),
    ("https://codeberg.org/o/r/pulls/3", "pull or merge request"),
    ("https://h.org/o/r/pull/12/files", "pull or merge request"),
    ("https://h.org/o/r/pull-requests/3", "pull or merge request"),
    ("https://h.org/o/r/merge_requests/3", "pull or merge request"),
    (f"{GITHUB}/commits/main/a/b.py", "does not identify"),
    (f"{GITHUB}/archive/main", "does not identify"),
    (f"{GITHUB}/releases/latest", "does not identify"),
    (f"{GITHUB}/compare/a...b", "does not identify"),
    (f"{GITHUB}/wiki", "does not identify"),
    (f"{RAW}/main", "does not identify"),
    ("https://codeload.github.com/org/repo/zip", "does not identify"),
    ("https://gist.githubusercontent.com/me/abc123/raw/5/a.ipynb", "does not identify"),
    (f"{NBVIEWER}/gist/abc123", "does not identify"),
    (f"{NBVIEWER}/urls/h.org/a.ipynb", "does not identify"),
    (f"{COLAB}/drive/1AbCdEf", "does not identify"),
    ("https://org.github.io/repo/a.html", "a website"),
    ("https://group.gitlab.io/repo", "a website"),
    ("https://me.codeberg.page/repo", "a website"),
    (f"{GITLAB}/-/releases/permalink/latest", "does not identify"),
    ("https://gitlab.com/a/b/merge_requests/3", "pull or merge request"),
    ("https://gitlab.com/a/b/issues/3", "does not identify"),
    ("https://codeberg.org/o/r/issues/3", "does not identify"),
    (f"{BITBUCKET}/pull-requests/3/diff", "pull or merge request"),
    (f"{BITBUCKET}/downloads/", "does not identify"),
    ("https://bitbucket.org/o", "does not identify"),
    (f"{STASH}/projects/P/repos/r/pull-requests/3", "pull or merge request"),
    (f"{STASH}/projects/P/repos/r/settings", "does not identify"),
    (f"{AZURE}/pullrequest/3", "pull or merge request"),
    (f"{AZURE}/branches", "does not identify"),
    ("https://dev.azure.com/o/p", "does not identify"),
    (f"{HF}/org/model/discussions/3", "pull or merge request"),
    (f"{HF}/docs/hub", "does not identify"),
    (f"{HF}/datasets", "does not identify"),
    (f"{SR_HT}/log", "does not identify"),
    ("https://git.sr.ht/~u", "does not identify"),
    ("https://sandbox.zenodo.org/records/1", "No hub can launch from sandbox.zenodo.org"),
    ("https://datadryad.org/dataset/doi:10.5061/dryad.x", "No hub can launch from datadryad.org"),
    ("https://datadryad.org/stash/dataset/doi:10.5061/dryad.x", "No hub can launch"),
    ("https://osf.io/abcde/", "No hub can launch from osf.io"),
    ("10.5061/dryad.abc", "No hub can launch from Dryad"),
    ("https://doi.org/10.17605/OSF.IO/ABCDE", "No hub can launch from OSF"),
    ("https://monash.figshare.com/articles/dataset/t/123456/1", "contain the dataset's DOI"),
    ("https://kilthub.cmu.edu/articles/dataset/t/123456", "contain the dataset's DOI"),
    ("https://data.h.org/articles/journal_contribution/t/123456/2", "contain the dataset's DOI"),
    (
        "https://dataverse.harvard.edu/dataset.xhtml?persistentId=hdl:1902.1/21919",
        "only by its DOI",
    ),
    ("https://dataverse.harvard.edu/dataset.xhtml?id=5", "only by its DOI"),
    ("https://d.org/file.xhtml?fileId=5", "only by its DOI"),
    ("https://dataverse.harvard.edu/dataverse/x", "only by its DOI"),
    ("https://mybinder.org/badge_logo.svg", "is not a Binder link"),
    ("https://hub.mybinder.org/user/o-r-x1/lab?token=hunter2", "is not a Binder link"),
    ("mybinder.org/repo/org", "is not a Binder link"),
    ("https://gist.github.com/abc123", "without its user"),
    ("https://gist.github.com/me/abc123/raw/x", "The page '/me/abc123/raw/x' does not identify"),
    ("https://zenodo.org/communities/x", "The page '/communities/x' does not identify"),
    ("https://zenodo.org/records/abc", "does not identify"),
    ("https://zenodo.org/records/\u0661\u0662", "does not identify"),
    ("https://figshare.com/articles/9784088", "does not identify"),
    ("https://figshare.com/articles/t/2020", "does not identify"),
    ("https://figshare.com/account/home", "The page '/account/home' does not identify"),
    ("https://h.org/a/../b", "dotted"),
    ("https://h.org/a/./b", "dotted"),
    ("https://h.org/a/%2e%2e/b", "dotted"),
    ("https://h.org/a//b", "no path"),
    ("https://-oProxyCommand/x", "not a URL"),
    ("ftp://h.org/r", "schemes: http, https, git, ssh"),
    ("s3://h.org/r", "schemes: http, https, git, ssh"),
    ("git+ssh://h.org/r", "schemes: http, https, git, ssh"),
    ("https://h.org/v2//gh/o/r", "no path"),
    ("https://h.org:x/r", "not a URL"),
    ("https://mybinder.org/v2/github/o/r/x", "not one of gh, gl"),
    ("https://mybinder.org/v2/gh/o", "gh/ORG/REPO"),
    (f"[x]({BADGE})", "no Binder link"),
    ("[x](https://h.org/?next=/v2/gh/org/repo/main)", "no Binder link"),
    ("[x](https://h.org/#/v2/gh/org/repo/main)", "no Binder link"),
    ("[x](https://h.org/xv2/gh/org/repo)", "no Binder link"),
    ("[x](https://h.org/v2/ghost)", "no Binder link"),
    ("[x](https://h.org/v2/gh/)", "no Binder link"),
    (f"[x]({LINK}\u202e)", "The link 'https://mybinder.org/v2/gh/org/repo/main\ufffd' contains"),
    (f"[x]({LINK}) [y]({LINK}2)", "different targets"),
    (f"Try {LINK} or http://mybinder.org/repo/org/repo", "different targets"),
    ("Try https://mybinder.org/v2/gh/o", "gh/ORG/REPO"),
    ("Try https://github.com/org/repo", "contains spaces"),
]


@pytest.mark.parametrize(("text", "provider", "name", "ref", "spec"), SHORTHANDS + SPECS)
def test_shorthands_and_specs_are_written_as_specs(
    text: str, provider: str, name: str, ref: str, spec: str
) -> None:
    parsed = parse(text)
    assert parsed == ParsedTarget(Repository(provider, name, ref))
    assert (parsed.repository.name, parsed.repository.ref) == (name, ref)
    assert parsed.repository.spec == spec


@pytest.mark.parametrize(
    ("text", "provider", "name", "ref"), [*PAGES, *HOST_PAGES, *((*row, "") for row in DOIS)]
)
def test_pages_git_urls_and_dois_name_a_repository(
    text: str, provider: str, name: str, ref: str
) -> None:
    parsed = parse(text)
    assert (parsed.repository.provider, parsed.repository.name) == (provider, name)
    assert (parsed.repository.ref, parsed.hub) == (ref, "")


@pytest.mark.parametrize(("text", "spec", "hub"), LINKS)
def test_links_and_badges_also_name_the_hub(text: str, spec: str, hub: str) -> None:
    parsed = parse(text)
    assert (parsed.repository.spec, parsed.hub) == (spec, hub)


@pytest.mark.parametrize("mark", list("<>()[]\"'?# \n\t"))
def test_a_link_in_a_badge_ends_at_the_first_delimiter(mark: str) -> None:
    parsed = parse(f"[x] {BADGE}{mark}{LINK}{mark}y")
    assert (parsed.repository.spec, parsed.hub) == ("gh/org/repo/main", "https://mybinder.org/")


@pytest.mark.parametrize(("text", "message"), REFUSALS)
def test_other_texts_are_refused_with_a_reason_and_a_hint(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert message in caught.value.message
    assert caught.value.message.isprintable()
    assert caught.value.hint


@pytest.mark.parametrize(
    "ref",
    [
        *("a..b", "../a", "a/../b", "./a", ".a", "a/.b", "/a", "a/", "a//b", "a.", "-a", "@"),
        *("a.lock", "a.lock/b", "a~1", "a^", "a:b", "a*", "a[b", "a\\b", "a@{1}"),
    ],
)
@pytest.mark.parametrize("provider", ["gh", "git"])
def test_refs_that_git_does_not_allow_are_refused(provider: str, ref: str) -> None:
    name = {"gh": "org/repo", "git": "https://h.org/r"}[provider]
    with pytest.raises(UsageError, match="is not a ref"):
        Repository(provider, name, ref)


@pytest.mark.parametrize(
    "ref",
    [
        *("a.b/c", "a-", "a/-", "@a", "a@", "a/@", "{a}", "a@b{c}", "lock", "a.locks/b"),
        *("a.lock-1", "v1.0-rc.1+x", "#1", "100%", "a'b", "]"),
    ],
)
def test_refs_that_git_allows_are_unchanged(ref: str) -> None:
    assert Repository("gh", "org/repo", ref).ref == ref


@pytest.mark.parametrize(("form", "example"), FORMS)
def test_every_form_has_an_example_that_parses(form: str, example: str) -> None:
    assert parse(example).repository.spec
    with pytest.raises(UsageError) as caught:
        parse("nothing")
    assert form in caught.value.hint
    assert example in caught.value.hint


def test_every_provider_has_a_row() -> None:
    rows = [*SPECS, *PAGES, *DOIS]
    assert {provider for _, provider, *_ in rows} == set(PROVIDERS)


@pytest.mark.parametrize(("prefix", "provider"), PROVIDERS.items())
def test_the_example_of_a_provider_is_a_spec(prefix: str, provider: Provider) -> None:
    assert provider.form.startswith(f"{prefix}/")
    assert parse(provider.example).repository.spec == provider.example
    assert parse(provider.example).repository.provider == prefix


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (f"{GITHUB}/pull/12", ": ORG/REPO@COMMIT"),
        (f"{GITLAB}/-/merge_requests/3/diffs", ": gl/NAMESPACE/COMMIT"),
        ("https://codeberg.org/o/r/pulls/3", ": git/URL/COMMIT"),
        ("https://gist.github.com/abc123", "gist/USER/ID"),
        ("https://gist.githubusercontent.com/me/abc123/raw/5/a.ipynb", "gist/USER/ID/COMMIT"),
        (f"{COLAB}/drive/1AbCdEf", "contains the notebook"),
        ("https://org.github.io/repo/a.html", "perhaps org/repo"),
        ("https://group.gitlab.io/repo", "perhaps https://gitlab.com/group/repo"),
        ("https://monash.figshare.com/articles/dataset/t/123456/1", "Copy the DOI"),
        ("https://d.org/dataset.xhtml?persistentId=hdl:1902.1/2", "Copy the DOI"),
        ("10.5061/dryad.abc", "Zenodo, Figshare, Dataverse"),
        ("gl/a/b", "gl/a%2Fb/HEAD"),
        ("gl/a/b/main", "gl/a%2Fb/main"),
        ("gl/a/b/c/main", "gl/a%2Fb%2Fc/main"),
        ("git/https://h.org/r.git/HEAD", "git/https%3A%2F%2F"),
        ("10.9999/abc", "dataverse/"),
    ],
)
def test_the_hint_shows_what_to_write_instead(text: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("ref", "is_commit"),
    [(SHA, True), (SHA[:7], False), (f"{SHA}0", False), (40 * "g", False), ("", False)],
)
def test_a_commit_is_forty_hex_digits(ref: str, is_commit: bool) -> None:
    assert Repository("gh", "org/repo", ref).is_commit is is_commit


def test_with_ref_changes_only_the_ref() -> None:
    assert parse("o/r@v1").repository.with_ref("feat/x") == Repository("gh", "o/r", "feat/x")
    with pytest.raises(UsageError, match="'v1' does not fit gist/USER/ID/REF: use HEAD"):
        Repository("gist", "me/abc123").with_ref("v1")
    with pytest.raises(UsageError, match="zenodo has no refs: omit 'main'"):
        Repository("zenodo", "10.5281/zenodo.1").with_ref("main")


@pytest.mark.parametrize("hub", ["https://h.org/X", "https://h.org/X/"])
def test_a_binder_link_parses_back_to_its_hub_and_repository(hub: str) -> None:
    link = Repository("gl", "a/b", "x#1").binder_link(hub)
    assert link == "https://h.org/X/v2/gl/a%2Fb/x%231"
    assert parse(link) == ParsedTarget(Repository("gl", "a/b", "x#1"), hub_url(hub))


def test_a_spec_with_a_space_is_refused() -> None:
    with pytest.raises(UsageError, match="The spec 'gh/org/repo/a b' contains spaces"):
        Repository.from_spec("gh/org/repo/a b")


def test_parsing_imports_no_http_client() -> None:
    code = "import sys, clinder.repository.parse; print({'requests', 'ssl'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize(
    "text",
    [
        "https:/u:s3cret@github.com/a/b",
        "gh/u:s3cret@a/b",
        "u:s3cret@a/b",
        "org/u:s3cret@ref",
        "ckan/https%3A%2F%2Fu:s3cret@h/x",
        "git/https%3A%2F%2Fu%3As3cret%40h.org%2Fr/..",
    ],
)
def test_a_password_in_a_malformed_text_is_not_shown(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text)

    assert "s3cret" not in caught.value.message + caught.value.hint
