"""Properties of every repository, and of every text that somebody might pass."""

from __future__ import annotations

import re
import string
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import quote, unquote

from hypothesis import example, given
from hypothesis import strategies as st

from clinder._urls import hub_url
from clinder.errors import UsageError
from clinder.repository import Repository
from clinder.repository.parse import parse

SEGMENT = r"(?:[A-Za-z0-9._~-]|%[0-9A-F]{2})+"  # RFC 3986: unreserved, or percent-encoded
HEX = "0123456789abcdef"
SECRET = "hunter2"

Result = TypeVar("Result")

names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,8}", fullmatch=True)
shas = st.text(HEX, min_size=40, max_size=40)


def is_accepted(ref: str) -> bool:
    try:
        Repository("gh", "o/r", ref)
    except UsageError:
        return False
    return True


def read_or_refuse(read: Callable[[str], Result], text: str) -> Result | UsageError:
    """Return the result or the UsageError; any other exception is a bug and fails the test."""
    try:
        return read(text)
    except UsageError as error:
        return error


letters = st.characters(exclude_categories=["C", "Z"])
refs = (
    st.text(letters | st.sampled_from("/#?%&=@+.;-"), min_size=1, max_size=20)
    .map(lambda text: re.sub(r"[~^:*\[\\]|@\{|\.\.+|^-+", "x", text))
    .filter(is_accepted)
)
parts = st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters="/."), min_size=1)
paths = st.lists(parts.map(quote), min_size=1, max_size=4).map("/".join)
hosts = st.sampled_from(["h.org", "h.org:8443", "127.0.0.1", "[::1]:80", "ä.org"])
dois = st.builds(
    "10.{}/{}".format,
    st.integers(1000, 999999),
    st.lists(parts.filter(lambda part: "%" not in part), min_size=1, max_size=3).map("/".join),
)

repositories = st.one_of(
    st.builds(Repository, st.just("gh"), st.builds("{}/{}".format, names, names), refs),
    st.builds(
        Repository, st.just("gl"), st.lists(names, min_size=2, max_size=5).map("/".join), refs
    ),
    st.builds(
        Repository,
        st.just("gist"),
        st.builds("{}/{}".format, names, st.text(HEX, min_size=1)),
        st.sampled_from(["", "HEAD", "main", "master"]) | shas,
    ),
    st.builds(Repository, st.just("git"), st.builds("https://{}/{}".format, hosts, paths), refs),
    st.builds(Repository, st.just("git"), st.builds("ssh://git@{}/{}".format, hosts, paths), refs),
    st.builds(Repository, st.sampled_from(["zenodo", "figshare", "dataverse"]), dois),
    st.builds(Repository, st.just("hydroshare"), st.text(HEX, min_size=32, max_size=32)),
    st.builds(Repository, st.just("ckan"), st.builds("https://{}/dataset/{}".format, hosts, names)),
    st.builds(
        Repository,
        st.just("ckan"),
        st.builds("https://{}/dataset/{}?activity_id={}".format, hosts, names, names),
    ),
)


@given(repositories)
def test_a_repository_survives_its_name_its_spec_and_its_link(repository: Repository) -> None:
    assert Repository(repository.provider, repository.name, repository.ref) == repository
    assert Repository.from_spec(repository.spec) == repository
    assert parse(repository.spec).repository == repository
    parsed = parse(repository.binder_link("https://h.org/b/"))
    assert (parsed.repository, parsed.hub) == (repository, "https://h.org/b/")


delimiters = st.sampled_from([" ", "\n", "](", ")", "<", ">", "`", '"', "'", "|", " >}}", "**"])
markup = st.lists(delimiters | st.sampled_from(["[", "{{< ", "# ", "Launch:"])).map("".join)


@given(repositories, markup, st.builds("{}{}".format, delimiters, markup))
@example(Repository("gh", "o/r"), "", ".\n")
def test_a_link_is_read_whatever_surrounds_it(
    repository: Repository, before: str, after: str
) -> None:
    link = repository.binder_link("https://h.org/b/")
    if not link.endswith((".", ":", ",", ";", "!")):  # the end of a sentence, not of the link
        parsed = parse(f"x {before}{link}{after}")
        assert (parsed.repository, parsed.hub) == (repository, "https://h.org/b/")


@given(repositories)
def test_a_spec_contains_only_encoded_segments(repository: Repository) -> None:
    provider, *segments = repository.spec.split("/")
    assert provider == repository.provider
    assert all(re.fullmatch(SEGMENT, segment) for segment in segments)
    assert not {".", "..", "%2E", "%2E%2E"} & set(segments)


@given(repositories)
def test_the_hub_splits_the_spec_into_name_and_ref(repository: Repository) -> None:
    """Each provider splits like its class in BinderHub's ``repoproviders.py``."""
    spec = repository.spec.partition("/")[2]
    if repository.provider in ("gh", "gist"):
        org, repo, ref = spec.split("/", 2)
        assert (f"{org}/{repo}", unquote(ref)) == (repository.name, repository.ref)
    elif repository.provider in ("gl", "git"):
        name, ref = spec.split("/", 1)
        assert (unquote(name), unquote(ref)) == (repository.name, repository.ref)
    else:
        assert unquote(spec) == repository.name
        raw_slashes = 0 if repository.provider == "ckan" else repository.name.count("/")
        assert spec.count("/") == raw_slashes


@given(names, names, refs)
def test_a_ref_is_the_same_in_every_form(org: str, repo: str, ref: str) -> None:
    repository = Repository("gh", f"{org}/{repo}", ref)
    assert parse(f"{org}/{repo}@{ref}").repository == repository
    assert parse(f"https://github.com/{org}/{repo}/tree/{quote(ref)}").repository == repository
    assert repository.with_ref("main").with_ref(ref) == repository


texts = (
    st.text()
    | st.text("/:@.%?#[]<>-ghlitv2" + string.whitespace)
    | st.lists(
        st.sampled_from(
            [
                *(
                    "https://",
                    "h.org",
                    "github.com",
                    "bitbucket.org",
                    "huggingface.co",
                    "mybinder.org",
                ),
                *("o", "r", "-", "+", "tree", "blob", "raw", "src", "branch", "commit", "commits"),
                *(
                    "archive",
                    "main.zip",
                    "refs",
                    "heads",
                    "item",
                    "_git",
                    "repo",
                    "v2",
                    "gh",
                    "projects",
                ),
                *(
                    "repos",
                    "releases",
                    "tag",
                    "download",
                    "pulls",
                    "issues",
                    "3",
                    "datasets",
                    "dataset",
                ),
                *("x.git", "?version=GBx", "?at=x", "?h=x", " ", "url", "urls", "github", "gist"),
            ]
        ),
        max_size=8,
    ).map("/".join)
    | st.builds(
        "{}{}".format,
        st.sampled_from(
            [
                *("gh/", "gl/", "gist/", "git/", "zenodo/10.", "figshare/", "hydroshare/", "ckan/"),
                *("https://", "https://github.com/", "https://gitlab.com/a/b/-/", "ssh://git@"),
                *("https://doi.org/10.", "https://h.org/v2/", "git@h.org:", "o/r@", "[x](https://"),
                *("https://h.org/dataset/", "https://h.org/?persistentId=doi:10.", "10.5281/"),
                *("https://bitbucket.org/", "https://huggingface.co/", "https://git.sr.ht/~u/r/"),
                *("https://dev.azure.com/o/_git/r", "https://nbviewer.org/", "https://h.org/o/r/"),
                *("https://raw.githubusercontent.com/", "http://mybinder.org/repo/o/", "x http://"),
            ]
        ),
        st.text() | st.text("/:@.%?#[]-2Ff"),
    )
)


@given(texts)
@example("https://[/")
@example("https://h.org\ud800/x")
@example("https://℀.org/x")
def test_any_text_is_parsed_or_refused(text: str) -> None:
    result = read_or_refuse(parse, text)
    if isinstance(result, UsageError):
        assert result.message.isprintable()
        assert result.hint
    else:
        assert Repository.from_spec(result.repository.spec) == result.repository
        assert re.fullmatch(rf"[a-z]+(?:/{SEGMENT})+", result.repository.spec)


@given(texts)
def test_any_text_is_a_hub_url_or_refused(text: str) -> None:
    result = read_or_refuse(hub_url, text)
    if isinstance(result, UsageError):
        assert result.message.isprintable()
    else:
        assert result.endswith("/")
        assert hub_url(result) == result


credentials = st.builds(
    "{}{}{}@".format,
    st.sampled_from(["", "me:", ":", "oauth2:"]),
    st.just(SECRET),
    st.text(string.ascii_letters + "%:!$&'()*+,;=-._~", max_size=5),
)
addresses = st.one_of(
    st.builds("https://{}{}/{}".format, credentials, hosts, paths),
    st.builds(
        "https://{}github.com/o/r{}".format, credentials, st.sampled_from(["", "/x", "/pull/1"])
    ),
    st.builds("https://{}h.org/v2/gh/{}".format, credentials, paths),
    st.builds("https://{}c.org/dataset/{}".format, credentials, paths),
    st.builds("ftp://{}h.org/{}".format, credentials, paths),
    st.builds("ssh://git:{}@{}/{}".format, st.just(SECRET), hosts, paths),
    st.builds("[x](https://{}h.org/v2/gh/o/{})".format, credentials, names),
    st.builds("https://h.org/{}?private_token={}".format, paths, st.just(SECRET)),
)


@given(addresses, st.sampled_from(["{}", "git/{}/main", "ckan/{}", "gl/{}", "{}\n", "x {}"]))
def test_a_password_is_neither_kept_nor_shown(address: str, form: str) -> None:
    for text in (form.format(address), form.format(quote(address, safe=""))):
        result = read_or_refuse(parse, text)
        if isinstance(result, UsageError):
            assert SECRET not in f"{result.message} {result.hint}"
            assert result.__suppress_context__  # the parser's own message might quote the text
        else:
            assert SECRET not in f"{result} {result.repository.spec}"
