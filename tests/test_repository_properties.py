"""What holds for every repository, and for every text that somebody may pass."""

from __future__ import annotations

import re
import string
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import quote, unquote

from hypothesis import example, given
from hypothesis import strategies as st

from clinder.errors import UsageError
from clinder.repository import Repository, hub_url, target

SEGMENT = r"(?:[A-Za-z0-9._~-]|%[0-9A-F]{2})+"  # RFC 3986: unreserved, or percent-encoded
HEX = "0123456789abcdef"
SECRET = "hunter2"

Found = TypeVar("Found")

words = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,8}", fullmatch=True)
shas = st.text(HEX, min_size=40, max_size=40)


def accepted(provider: str, ref: str) -> bool:
    try:
        Repository(provider, {"gh": "o/r", "gist": "u/1"}[provider], ref)
    except UsageError:
        return False
    return True


def outcome(read: Callable[[str], Found], text: str) -> Found | UsageError:
    """Return what was read or the refusal; any other exception is a bug and fails the test."""
    try:
        return read(text)
    except UsageError as error:
        return error


letters = st.characters(exclude_categories=["C", "Z"])
refs = (
    st.text(letters | st.sampled_from("/#?%&=@+.;-"), min_size=1, max_size=20)
    .map(lambda text: re.sub(r"[~^:*\[\\]|@\{|\.\.+|^-+", "x", text))
    .filter(lambda ref: accepted("gh", ref))
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
    st.builds(Repository, st.just("gh"), st.builds("{}/{}".format, words, words), refs),
    st.builds(
        Repository, st.just("gl"), st.lists(words, min_size=2, max_size=5).map("/".join), refs
    ),
    st.builds(
        Repository,
        st.just("gist"),
        st.builds("{}/{}".format, words, st.text(HEX, min_size=1)),
        st.sampled_from(["", "HEAD", "main", "master"]) | shas,
    ),
    st.builds(Repository, st.just("git"), st.builds("https://{}/{}".format, hosts, paths), refs),
    st.builds(Repository, st.just("git"), st.builds("ssh://git@{}/{}".format, hosts, paths), refs),
    st.builds(Repository, st.sampled_from(["zenodo", "figshare", "dataverse"]), dois),
    st.builds(Repository, st.just("hydroshare"), st.text(HEX, min_size=32, max_size=32)),
    st.builds(Repository, st.just("ckan"), st.builds("https://{}/dataset/{}".format, hosts, words)),
    st.builds(
        Repository,
        st.just("ckan"),
        st.builds("https://{}/dataset/{}?activity_id={}".format, hosts, words, words),
    ),
)


@given(repositories)
def test_text_and_repository_and_spec_stay_the_same(repository: Repository) -> None:
    assert Repository(repository.provider, repository.name, repository.ref) == repository
    assert Repository.from_spec(repository.spec) == repository
    assert target(repository.spec).repository == repository
    again = target(repository.binder_link("https://h.org/b/"))
    assert (again.repository, again.hub) == (repository, "https://h.org/b/")


@given(repositories)
def test_nothing_unescaped_reaches_a_path(repository: Repository) -> None:
    provider, *segments = repository.spec.split("/")
    assert provider == repository.provider
    assert all(re.fullmatch(SEGMENT, segment) for segment in segments)
    assert not {".", "..", "%2E", "%2E%2E"} & set(segments)


@given(repositories)
def test_the_hub_splits_the_spec_into_name_and_ref(repository: Repository) -> None:
    """As each provider of ``repoproviders.py`` does it."""
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


@given(words, words, refs)
def test_a_ref_is_the_same_however_it_is_written(org: str, repo: str, ref: str) -> None:
    repository = Repository("gh", f"{org}/{repo}", ref)
    assert target(f"{org}/{repo}@{ref}").repository == repository
    assert target(f"https://github.com/{org}/{repo}/tree/{quote(ref)}").repository == repository
    assert repository.at("main").at(ref) == repository


texts = (
    st.text()
    | st.text("/:@.%?#[]<>-ghlitv2" + string.whitespace)
    | st.builds(
        "{}{}".format,
        st.sampled_from(
            [
                *("gh/", "gl/", "gist/", "git/", "zenodo/10.", "figshare/", "hydroshare/", "ckan/"),
                *("https://", "https://github.com/", "https://gitlab.com/a/b/-/", "ssh://git@"),
                *("https://doi.org/10.", "https://h.org/v2/", "git@h.org:", "o/r@", "[x](https://"),
                *("https://h.org/dataset/", "https://h.org/?persistentId=doi:10.", "10.5281/"),
            ]
        ),
        st.text() | st.text("/:@.%?#[]-2Ff"),
    )
)


@given(texts)
@example("https://[/")
@example("https://h.org\ud800/x")
@example("https://℀.org/x")
def test_any_text_is_read_or_refused(text: str) -> None:
    found = outcome(target, text)
    if isinstance(found, UsageError):
        assert found.message.isprintable()
        assert found.hint
    else:
        assert Repository.from_spec(found.repository.spec) == found.repository
        assert re.fullmatch(rf"[a-z]+(?:/{SEGMENT})+", found.repository.spec)


@given(texts)
def test_any_text_is_a_hub_or_refused(text: str) -> None:
    found = outcome(hub_url, text)
    if isinstance(found, UsageError):
        assert found.message.isprintable()
    else:
        assert found.endswith("/")
        assert hub_url(found) == found


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
    st.builds("[x](https://{}h.org/v2/gh/o/{})".format, credentials, words),
    st.builds("https://h.org/{}?private_token={}".format, paths, st.just(SECRET)),
)


@given(addresses, st.sampled_from(["{}", "git/{}/main", "ckan/{}", "gl/{}", "{}\n", "x {}"]))
def test_a_password_is_neither_kept_nor_shown(address: str, form: str) -> None:
    for text in (form.format(address), form.format(quote(address, safe=""))):
        found = outcome(target, text)
        if isinstance(found, UsageError):
            assert SECRET not in f"{found.message} {found.hint}"
            assert found.__suppress_context__  # the parser's own message may quote the text
        else:
            assert SECRET not in f"{found} {found.repository.spec}"
