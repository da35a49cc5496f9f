"""URLs of hubs as people type them, and texts as messages show them."""

from __future__ import annotations

import pytest

from clinder._urls import add_scheme, hub_url, is_cleartext, is_loopback, redact
from clinder.errors import UsageError


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://mybinder.org", "https://mybinder.org/"),
        ("  https://mybinder.org/  ", "https://mybinder.org/"),
        ("HTTPS://MyBinder.org", "https://mybinder.org/"),
        ("mybinder.org", "https://mybinder.org/"),
        ("mybinder.org.", "https://mybinder.org./"),
        ("hub:8585", "https://hub:8585/"),
        ("localhost:8585", "http://localhost:8585/"),
        ("localhost", "http://localhost/"),
        ("127.0.0.1:8585/binder", "http://127.0.0.1:8585/binder/"),
        ("[::1]:8585", "http://[::1]:8585/"),
        ("http://hub", "http://hub/"),
        ("https://example.org/Services/binder", "https://example.org/Services/binder/"),
        ("https://example.org/X", "https://example.org/X/"),
        ("https://example.org/v2x", "https://example.org/v2x/"),
        ("https://example.org/xv2", "https://example.org/xv2/"),
        ("https://my-hub.example-1.org", "https://my-hub.example-1.org/"),
        ("http://[fe80::1]:8585", "http://[fe80::1]:8585/"),
        ("https://mybinder.org/v2/gh/o/r/HEAD?urlpath=lab", "https://mybinder.org/"),
        ("https://example.org/binder/v2/gh/o/r/HEAD", "https://example.org/binder/"),
        ("https://example.org/binder/build/gh/o/r/HEAD", "https://example.org/binder/"),
        ("https://mybinder.org/v2", "https://mybinder.org/"),
        ("https://mybinder.org/v2/", "https://mybinder.org/"),
        ("mybinder.org/v2/gh/o/r/v2/x", "https://mybinder.org/"),
        ("https://mybinder.org/?a=b#c", "https://mybinder.org/"),
    ],
)
def test_a_hub_url_is_reduced_to_its_base(text: str, url: str) -> None:
    assert hub_url(text) == url
    assert hub_url(url) == url


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("https://a.org,https://b.org", "Separate hubs by spaces"),
        ("mybinder", "not the URL of a hub"),
        ("http:/mybinder.org", "not the URL of a hub"),
        ("mylocalhost", "not the URL of a hub"),
        ("localhosts", "not the URL of a hub"),
        ("ftp://mybinder.org", "ftp"),
        ("ssh://mybinder.org", "schemes: http, https"),
        ("https://", "not a URL with a valid host"),
        ("https://mybinder.org:x", "not a URL with a valid host"),
        ("https://mybinder.org:0", "not a URL with a valid host"),
        ("https://-o/", "not a URL with a valid host"),
        ("https://a.-o/", "not a URL with a valid host"),
        ("https://a..b/", "not a URL with a valid host"),
        ("https://me:hunter2@mybinder.org", "must not contain a user"),
        ("https://hunter2@mybinder.org", "must not contain a user"),
        ("https://my binder.org", "The hub 'https://my binder.org' contains spaces"),
        ("https://mybinder.org\n", "control"),
        ("https://mybinder.org/../x", "dotted"),
        ("https://mybinder.org/%2e%2e/x", "dotted"),
        ("https://mybinder.org/a//b", "empty"),
    ],
)
def test_other_texts_are_not_hub_urls(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        hub_url(text)
    assert message in caught.value.message
    assert "hunter2" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("org/repo@v1", "'org/repo@v1'"),
        ("git@host:org/repo", "'…@host:org/repo'"),
        ("//hunter2@host/r", "'…@host/r'"),
        ("https://me:hun@ter2@host/r", "'…@host/r'"),
        ("https://hunter2@host/r", "'…@host/r'"),
        ("https://me:hunter2@host/r", "'…@host/r'"),
        ("https://me:hun/ter2@host/r", "'…@host/r'"),
        ("me:hunter2@host/r", "'…@host/r'"),
        ("git/https%3A%2F%2Fme%3Ahunter2%40host%2Fr/HEAD", "'…@host/r/HEAD'"),
        ("git/https%253A%252F%252Fme%253Ahunter2%2540host", "'…@host'"),
        ("https://hub/user/x/?token=hunter2", "'https://hub/user/x/…'"),
        ("hub/#access_token=hunter2", "'hub/…'"),
        ("hub&token=hunter2", "'hub…'"),
        ("hub/?lab", "'hub/?lab'"),
        ("a\x1b[31mb\u2028c", "'a\ufffd[31mb\ufffdc'"),
        (201 * "a", f"'{200 * 'a'}'"),
    ],
)
def test_redact_hides_passwords_queries_and_control_characters(text: str, redacted: str) -> None:
    assert redact(text) == redacted


@pytest.mark.parametrize(
    ("address", "loopback"),
    [
        *(("localhost", True), ("localhost:8585/x", True), ("LocalHost", True)),
        *(("hub.localhost", True), ("127.0.0.1", True), ("127.1.2.3:80", True), ("[::1]:80", True)),
        *(("localhost.org", False), ("notlocalhost", False), ("10.0.0.1", False), ("[", False)),
        *(("mybinder.org/localhost", False), ("localhost@mybinder.org", False), ("", False)),
    ],
)
def test_loopback_is_recognised_by_name(address: str, loopback: bool) -> None:
    for text in (address, f"http://{address}", f"https://{address}"):
        assert is_loopback(text) is loopback
    assert is_cleartext(f"http://{address}") is not loopback
    assert not is_cleartext(f"https://{address}")
    assert add_scheme(address) == ("http://" if loopback else "https://") + address
