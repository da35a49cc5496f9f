"""How the embedded hub resolves specs, and which it refuses like a real hub."""

from __future__ import annotations

import pytest

from clinder.embedded.specs import SpecRefused, list_providers, resolve_spec
from clinder.repository.providers import PROVIDERS


@pytest.mark.parametrize(
    ("provider", "spec", "repo_url", "ref_url", "persistent_spec"),
    [
        (
            "gh",
            "org/repo.git/feature/slash",
            "https://github.com/org/repo",
            "https://github.com/org/repo/tree/feature/slash",
            "org/repo/feature/slash",
        ),
        (
            "gh",
            "org/repo/a%2Fb/",
            "https://github.com/org/repo",
            "https://github.com/org/repo/tree/a%2Fb",
            "org/repo/a%2Fb",
        ),
        (
            "gist",
            "me/0123",
            "https://gist.github.com/me/0123.git",
            "https://gist.github.com/me/0123/HEAD",
            "me/0123/HEAD",
        ),
        (
            "gl",
            "a%2Fb%2Fc/feature%2Fslash/",
            "https://gitlab.com/a/b/c.git",
            "https://gitlab.com/a/b/c/tree/feature/slash",
            "a%2Fb%2Fc/feature%2Fslash",
        ),
        (
            "git",
            "https%3A%2F%2Fexample.org%2Fr.git/HEAD",
            "https://example.org/r.git",
            "https://example.org/r.git",
            "https%3A%2F%2Fexample.org%2Fr.git/HEAD",
        ),
        (
            "git",
            "git%40example.org%3Aa%2Fb/main",
            "ssh://git@example.org/a/b",
            "ssh://git@example.org/a/b",
            "git%40example.org%3Aa%2Fb/main",
        ),
        (
            "git",  # the local directory; a real hub refuses it
            "file%3A%2F%2F%2Fhome%2Fme%2Fbook/HEAD",
            "file:///home/me/book",
            "file:///home/me/book",
            "file%3A%2F%2F%2Fhome%2Fme%2Fbook/HEAD",
        ),
        (
            "zenodo",
            "10.5281/zenodo.3242074",
            "10.5281/zenodo.3242074",
            "https://doi.org/10.5281/zenodo.3242074",
            "10.5281/zenodo.3242074",
        ),
        (
            "hydroshare",
            "8f7c2f0341ef4180b0dbe97f59130756",
            "https://www.hydroshare.org/resource/8f7c2f0341ef4180b0dbe97f59130756",
            "https://www.hydroshare.org/resource/8f7c2f0341ef4180b0dbe97f59130756",
            "https://www.hydroshare.org/resource/8f7c2f0341ef4180b0dbe97f59130756",
        ),
        (
            "ckan",
            "https%3A%2F%2Fexample.org%2Fdataset%2Fd",
            "https://example.org/dataset/d",
            "https://example.org/dataset/d",
            "https://example.org/dataset/d",
        ),
    ],
)
def test_specs_are_resolved(
    provider: str, spec: str, repo_url: str, ref_url: str, persistent_spec: str
) -> None:
    resolved = resolve_spec(provider, spec)
    assert (resolved.repo_url, resolved.ref_url) == (repo_url, ref_url)
    assert resolved.spec == persistent_spec


@pytest.mark.parametrize(
    ("provider", "spec", "message"),
    [
        ("xx", "a/b/c", "No provider found for prefix xx"),
        ("gh", "foo", 'Spec is not of the form "user/repo/ref", provided: "foo".'),
        (
            "gh",
            "a/b",
            'Spec is not of the form "user/repo/ref", provided: "a/b". Did you mean "a/b/HEAD"?',
        ),
        ("gh", "a/main", 'Spec is not of the form "user/repo/ref", provided: "a/main".'),
        ("gh", "owner%2Frepo/main", 'Spec is not of the form "user/repo/ref", provided: "owner'),
        ("gh", "a//b", "Could not resolve ref for gh:a//b. Double check your URL"),
        ("gist", "0123", "not enough values to unpack (expected at least 2, got 1)"),
        ("gist", "me/0123/branch", "Could not resolve ref for gist:me/0123/branch."),
        ("gl", "group", "not enough values to unpack (expected 2, got 1)"),
        ("git", "https%3A%2F%2Fexample.org", "not enough values to unpack (expected 2, got 1)"),
        ("git", "ftp%3A%2F%2Fexample.org/HEAD", "Unsupported git url ftp://example.org, protocol "),
        ("zenodo", "10.5281%2Fzenodo.1", "Error resolving ref for zenodo:10.5281%2Fzenodo.1: "),
        ("hydroshare", "short", "The specified Hydroshare resource id was not recognized."),
        ("ckan", "https%3A%2F%2Fexample.org", "Could not resolve ref for ckan:https%3A"),
    ],
)
def test_refusals_have_the_messages_of_a_real_hub(provider: str, spec: str, message: str) -> None:
    with pytest.raises(SpecRefused) as refused:
        resolve_spec(provider, spec)
    assert str(refused.value).startswith(message)


def test_the_embedded_hub_has_the_providers_that_clinder_knows() -> None:
    listed = {each["id"]: each["ref"]["enabled"] for each in list_providers()}
    assert listed == {prefix: provider.has_refs for prefix, provider in PROVIDERS.items()}
    for provider in PROVIDERS.values():
        prefix, _, spec = provider.example.partition("/")
        assert resolve_spec(prefix, spec).ref
