"""What people write to name a repository, what it means, and how the hub is told."""

from __future__ import annotations

import subprocess
import sys

import pytest

from clinder.errors import UsageError
from clinder.repository import FORMS, Repository, Target, hub_url, target

SHA = "dc436b39f6ea56b46170624f330d57936d8452af"
ID = "8f7c2f0341ef4180b0dbe97f59130756"
LINK = "https://mybinder.org/v2/gh/org/repo/main"
BADGE = "https://mybinder.org/badge_logo.svg"

WORDS = [
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
    # Organisations that are called as a provider is.
    ("gh/cli", "gh", "gh/cli", "HEAD", "gh/gh/cli/HEAD"),
    ("git/git", "gh", "git/git", "HEAD", "gh/git/git/HEAD"),
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
        "git/https%3A%2F%2Fh.org%2Fr%2520s.git/a%231",
        "git",
        "https://h.org/r%20s.git",
        "a#1",
        "git/https%3A%2F%2Fh.org%2Fr%2520s.git/a%231",
    ),
    (
        "git/git%40h.org%3Ao%2Fr.git/main",
        "git",
        "ssh://git@h.org/o/r.git",
        "main",
        "git/ssh%3A%2F%2Fgit%40h.org%2Fo%2Fr.git/main",
    ),
    (
        "git/ssh%3A%2F%2Fgit@h.org%2Fr/main",
        "git",
        "ssh://git@h.org/r",
        "main",
        "git/ssh%3A%2F%2Fgit%40h.org%2Fr/main",
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
    (
        f"hydroshare/https%3A%2F%2Fwww.hydroshare.org%2Fresource%2F{ID}%2F",
        "hydroshare",
        ID,
        "",
        f"hydroshare/{ID}",
    ),
    (
        "ckan/https%3A%2F%2Fc.org%2Fdataset%2Fx%3Factivity_id%3D7",
        "ckan",
        "https://c.org/dataset/x?activity_id=7",
        "",
        "ckan/https%3A%2F%2Fc.org%2Fdataset%2Fx%3Factivity_id%3D7",
    ),
    (
        "ckan/http%3A%2F%2Fc.org%2Fdataset%2FX",
        "ckan",
        "http://c.org/dataset/X",
        "",
        "ckan/http%3A%2F%2Fc.org%2Fdataset%2FX",
    ),
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
    (
        "https://figshare.com/articles/dataset/2020/9784088",
        "figshare",
        "10.6084/m9.figshare.9784088",
    ),
    ("https://www.figshare.com/articles/t/9784088", "figshare", "10.6084/m9.figshare.9784088"),
    ("https://figshare.com/articles/t/9784088/12", "figshare", "10.6084/m9.figshare.9784088.v12"),
    ("10.7910/DVN/TJCLKP", "dataverse", "10.7910/DVN/TJCLKP"),
    (
        "https://dataverse.harvard.edu/dataset.xhtml?persistentId=doi:10.7910/DVN/TJCLKP",
        "dataverse",
        "10.7910/DVN/TJCLKP",
    ),
    (f"10.4211/hs.{ID}", "hydroshare", ID),
    (f"https://www.hydroshare.org/resource/{ID}/", "hydroshare", ID),
    (f"https://hydroshare.org/resource/{ID}/", "hydroshare", ID),
    ("https://c.org/dataset/x/", "ckan", "https://c.org/dataset/x"),
    (
        "https://u:hunter2@c.org/en/dataset/x?activity_id=7&token=hunter2#t",
        "ckan",
        "https://c.org/en/dataset/x?activity_id=7",
    ),
    (
        "https://c.org/dataset/x?activity_id=a/b",
        "ckan",
        "https://c.org/dataset/x?activity_id=a%2Fb",
    ),
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
    (
        "https://mybinder.org/v2/zenodo/10.5281/zenodo.1/?urlpath=lab",
        "zenodo/10.5281/zenodo.1",
        "https://mybinder.org/",
    ),
    (
        f"https://h.org/v2/hydroshare/https://www.hydroshare.org/resource/{ID}",
        f"hydroshare/{ID}",
        "https://h.org/",
    ),
    ("https://me:hunter2@h.org/v2/gh/o/r/x", "gh/o/r/x", "https://h.org/"),
    (
        "https://h.org/v2/git/git@g.org:o/main",  # the hub takes it as it stands here
        "git/ssh%3A%2F%2Fgit%40g.org%2Fo/main",
        "https://h.org/",
    ),
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
    ("org/repo@", "no ref after its @"),
    ("org_/..", "gh/ORG/REPO"),
    ("-org/repo", "gh/ORG/REPO"),
    ("_org/repo", "gh/ORG/REPO"),
    ("o.g/repo", "gh/ORG/REPO"),
    ("org/.git", "gh/ORG/REPO"),
    ("org/r.git.git", "gh/ORG/REPO"),
    ("örg/repo", "gh/ORG/REPO"),
    ("org/re po", "The text 'org/re po' holds blanks"),
    ("org/repo\n", "control"),
    ("org/repo@a\x85b", "control"),
    ("org/repo@a\u2028b", "control"),
    ("org/repo@a\u202eb", "control"),
    ("gh/org/re%20po/a", "The name 'org/re po' holds blanks"),
    ("gh/org/repo/a%20b", "The ref 'a b' holds blanks"),
    ("gh/org/repo/a%0Ab", "control"),
    ("gh/org/repo/a%ffb", "not from UTF-8"),
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
    ("git/https://h.org/r.git/HEAD", "one percent-encoded part"),
    ("git/git@h.org:o/r.git", "not a ref"),
    ("git/main/x", "not a URL"),
    ("git/h.org/o/r.git", "not a URL"),
    ("https://h.org/v2/git/git@h.org:o/r.git/main", "one percent-encoded part"),
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
    ("https://c.org/dataset/x?activity_id=a%20b", "The activity 'a b' holds blanks"),
    ("10.9999/abc", "which archive"),
    ("10.5281/", "names no repository"),
    ("10.52811", "names no repository"),
    ("https://doi.org/abc", "The page '/abc' does not say"),
    ("https://github.com", "no path"),
    ("https://github.com/org", "gh/ORG/REPO"),
    (f"{GITHUB}/issues/1", "The page '/org/repo/issues/1' does not say"),
    (f"{GITHUB}/pull/12/files", "pull or merge request"),
    (f"{GITLAB}/-/merge_requests/3", "pull or merge request"),
    (f"{GITLAB}/-/issues", "The page '/a/b/c/-/issues' does not say"),
    (f"{GITLAB}/-/tree", "does not say"),
    ("https://codeberg.org/o/r/pulls/3", "pull or merge request"),
    ("https://h.org/o/r/pull/12/files", "pull or merge request"),
    ("https://h.org/o/r/pull-requests/3", "pull or merge request"),
    ("https://h.org/o/r/merge_requests/3", "pull or merge request"),
    ("https://gist.github.com/abc123", "without its user"),
    ("https://gist.github.com/me/abc123/raw/x", "The page '/me/abc123/raw/x' does not say"),
    ("https://zenodo.org/communities/x", "The page '/communities/x' does not say"),
    ("https://zenodo.org/records/abc", "does not say"),
    ("https://zenodo.org/records/\u0661\u0662", "does not say"),
    ("https://figshare.com/articles/9784088", "does not say"),
    ("https://figshare.com/articles/t/2020", "does not say"),
    ("https://figshare.com/account/home", "The page '/account/home' does not say"),
    ("https://h.org/a/../b", "dotted"),
    ("https://h.org/a/./b", "dotted"),
    ("https://h.org/a/%2e%2e/b", "dotted"),
    ("https://h.org/a//b", "no path"),
    ("https://-oProxyCommand/x", "not a URL"),
    ("ftp://h.org/r", "not one of: http, https, git, ssh"),
    ("s3://h.org/r", "not one of: http, https, git, ssh"),
    ("git+ssh://h.org/r", "not one of: http, https, git, ssh"),
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
    (f"[x]({LINK}\u202e)", "The link 'https://mybinder.org/v2/gh/org/repo/main\ufffd' holds"),
    (f"[x]({LINK}) [y]({LINK}2)", "different things"),
]


@pytest.mark.parametrize(("text", "provider", "name", "ref", "spec"), WORDS + SPECS)
def test_words_and_specs(text: str, provider: str, name: str, ref: str, spec: str) -> None:
    found = target(text)
    assert found == Target(Repository(provider, name, ref))
    assert (found.repository.name, found.repository.ref) == (name, ref)
    assert found.repository.spec == spec


@pytest.mark.parametrize(("text", "provider", "name", "ref"), PAGES)
def test_pages_and_git_urls(text: str, provider: str, name: str, ref: str) -> None:
    found = target(text)
    assert (found.repository.provider, found.repository.name) == (provider, name)
    assert (found.repository.ref, found.hub) == (ref, "")


@pytest.mark.parametrize(("text", "provider", "name"), DOIS)
def test_archives(text: str, provider: str, name: str) -> None:
    found = target(text)
    assert (found.repository.provider, found.repository.name) == (provider, name)
    assert (found.repository.ref, found.hub) == ("", "")


@pytest.mark.parametrize(("text", "spec", "hub"), LINKS)
def test_links_and_badges_name_the_hub_too(text: str, spec: str, hub: str) -> None:
    found = target(text)
    assert (found.repository.spec, found.hub) == (spec, hub)


@pytest.mark.parametrize("mark", list("<>()[]\"'?# \n\t"))
def test_a_link_in_a_badge_ends_where_its_address_does(mark: str) -> None:
    found = target(f"[x] {BADGE}{mark}{LINK}{mark}y")
    assert (found.repository.spec, found.hub) == ("gh/org/repo/main", "https://mybinder.org/")


@pytest.mark.parametrize(("text", "words"), REFUSALS)
def test_what_names_no_repository_is_refused(text: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        target(text)
    assert words in caught.value.message
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
def test_refs_that_git_cannot_have_are_refused(provider: str, ref: str) -> None:
    name = {"gh": "org/repo", "git": "https://h.org/r"}[provider]
    with pytest.raises(UsageError, match="is not a ref"):
        Repository(provider, name, ref)


@pytest.mark.parametrize(
    "ref",
    [
        *(
            "a.b/c",
            "a-",
            "a/-",
            "@a",
            "a@",
            "a/@",
            "{a}",
            "a@b{c}",
            "lock",
            "a.locks/b",
            "a.lock-1",
        ),
        *("v1.0-rc.1+x", "#1", "100%", "a'b", "]"),
    ],
)
def test_refs_that_git_can_have_stay_as_they_are(ref: str) -> None:
    assert Repository("gh", "org/repo", ref).ref == ref


@pytest.mark.parametrize(("form", "example"), FORMS)
def test_every_form_has_an_example_that_can_be_read(form: str, example: str) -> None:
    assert target(example).repository.spec
    with pytest.raises(UsageError) as caught:
        target("nothing")
    assert form in caught.value.hint
    assert example in caught.value.hint


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        (f"{GITHUB}/pull/12", ": ORG/REPO@COMMIT"),
        (f"{GITLAB}/-/merge_requests/3/diffs", ": gl/NAMESPACE/COMMIT"),
        ("https://codeberg.org/o/r/pulls/3", ": git/URL/COMMIT"),
        ("https://gist.github.com/abc123", "gist/USER/ID"),
        ("gl/a/b", "gl/a%2Fb/HEAD"),
        ("gl/a/b/main", "gl/a%2Fb/main"),
        ("gl/a/b/c/main", "gl/a%2Fb%2Fc/main"),
        ("git/https://h.org/r.git/HEAD", "git/https%3A%2F%2F"),
        ("10.9999/abc", "dataverse/"),
    ],
)
def test_a_refusal_says_what_to_write_instead(text: str, advice: str) -> None:
    with pytest.raises(UsageError) as caught:
        target(text)
    assert advice in caught.value.hint


def test_a_commit_is_forty_hex_digits() -> None:
    assert Repository("gh", "org/repo", SHA).is_commit
    assert not Repository("gh", "org/repo", SHA[:7]).is_commit
    assert not Repository("gh", "org/repo", f"{SHA}0").is_commit
    assert not Repository("gh", "org/repo", 40 * "g").is_commit
    assert not Repository("gh", "org/repo").is_commit
    assert not Repository("zenodo", "10.5281/zenodo.1").is_commit


def test_the_same_repository_at_another_ref() -> None:
    assert target("org/repo@v1").repository.at("feat/x") == Repository("gh", "org/repo", "feat/x")
    with pytest.raises(UsageError, match="not a ref of a gist"):
        Repository("gist", "me/abc123").at("v1")
    with pytest.raises(UsageError, match="zenodo has no refs"):
        Repository("zenodo", "10.5281/zenodo.1").at("main")


@pytest.mark.parametrize("hub", ["https://h.org/b", "https://h.org/b/"])
def test_a_binder_link_names_hub_and_repository(hub: str) -> None:
    link = Repository("gl", "a/b", "x#1").binder_link(hub)
    assert link == "https://h.org/b/v2/gl/a%2Fb/x%231"
    assert target(link) == Target(Repository("gl", "a/b", "x#1"), hub_url(hub))


def test_a_spec_holds_no_blanks() -> None:
    with pytest.raises(UsageError, match="The spec 'gh/org/repo/a b' holds blanks"):
        Repository.from_spec("gh/org/repo/a b")


def test_reading_a_repository_imports_no_client() -> None:
    code = "import sys, clinder.repository; print({'requests', 'urllib3', 'ssl'} & {*sys.modules})"
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
def test_a_password_is_not_shown_in_what_is_malformed(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        target(text)

    assert "s3cret" not in caught.value.message + caught.value.hint
