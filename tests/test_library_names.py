"""Names in other libraries that clinder uses although their documentation does not promise them.

If a new version drops one of these names or parameters, its test fails here instead of a launch.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable

import pytest
import requests
import requests.adapters
import requests.utils
import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

NAMES: list[tuple[object, str]] = [
    (HTTPConnection, "has_connected_to_proxy"),
    (urllib3.HTTPConnectionPool, "ConnectionCls"),
    (urllib3.HTTPResponse, "read1"),
    (requests.exceptions, "InvalidProxyURL"),
    (requests.utils, "DEFAULT_CA_BUNDLE_PATH"),
    (requests.Session, "resolve_redirects"),
]


@pytest.mark.parametrize(("owner", "name"), NAMES, ids=[name for _, name in NAMES])
def test_a_name_that_clinder_uses_exists(owner: object, name: str) -> None:
    assert hasattr(owner, name), f"clinder uses {name} of {owner}, which no longer exists"


@pytest.mark.parametrize(
    ("function", "parameters"),
    [
        (HTTPConnection, "host port timeout"),
        (HTTPConnection.connect, "self"),
        (HTTPConnection.set_tunnel, "self host port headers"),
        (HTTPSConnection, "host port timeout cert_reqs ca_certs ca_cert_dir"),
        (
            requests.adapters.HTTPAdapter.get_connection_with_tls_context,
            "self request verify proxies cert",
        ),
        (
            requests.Session.merge_environment_settings,
            "self url proxies stream verify cert",
        ),
        (requests.utils.select_proxy, "url proxies"),
    ],
)
def test_a_function_has_the_parameters_that_clinder_passes(
    function: Callable[..., object], parameters: str
) -> None:
    has = set(inspect.signature(function).parameters)
    assert set(parameters.split()) <= has, f"{function} no longer has what clinder passes"
