"""One build request: every known refusal of a hub, and the error it means."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
import responses

from answers import Answer, Ending, Framing, Raw, bytewise, event, json_page, moved, page, ready
from clinder import errors
from clinder._deadline import Deadline
from clinder.errors import (
    ClinderError,
    HubBroken,
    HubUnreachable,
    NotABinderHub,
    ServerUnusable,
)
from clinder.timeouts import Timeouts
from clinder.wire.binderhub import (
    Built,
    Progress,
    Ready,
    Redirected,
    is_api_only,
    members,
    request_build,
)
from clinder.wire.http import Stream, Transport
from hubs import ScriptedHub

URL = "https://server.example.org/user/x/"
TOKEN = "s3cret-token"
HUB = "https://hub.test/"
SPEC = "gh/org/repo/HEAD"

pytestmark = pytest.mark.usefixtures("_no_threads_left")


def build(
    *events: bytes, status: int = 200, hub: str = HUB
) -> list[Redirected | Progress | Ready | Built]:
    """What a build request yields if the hub sends these events."""
    with responses.RequestsMock() as mock:
        mock.get(
            f"{hub}build/{SPEC}",
            body=b"".join(events),
            status=status,
            content_type="text/event-stream",
        )
        return list(request_build(Transport(), hub, SPEC, deadline=Deadline(60)))


def refusal(*events: bytes, status: int = 200, hub: str = HUB) -> ClinderError:
    with pytest.raises(ClinderError) as error:
        build(*events, status=status, hub=hub)
    return error.value


def failure(hub: ScriptedHub) -> ClinderError:
    with pytest.raises(ClinderError) as error:
        list(request_build(Transport(Timeouts(idle=0.3)), hub.url, SPEC, deadline=Deadline(60)))
    return error.value


@dataclass(frozen=True)
class Row:
    """A hub's message and status after these events, and the error and exit code it means."""

    message: str
    kind: type[ClinderError]
    code: int
    status: int
    before: tuple[bytes, ...] = ()


LOG = (event(phase="waiting", message="Waiting\n"), event(message="pip install nope\n"))
LAUNCH = (event(phase="built", message="Built\n"), event(phase="launching", message="Launch\n"))

ROWS = {
    "unknown provider": Row("No provider found for prefix xx\n", errors.UnknownProvider, 3, 400),
    "malformed spec": Row(
        'Spec is not of the form "user/repo/ref", provided: "x".\n', errors.MalformedSpec, 3, 400
    ),
    "malformed git spec": Row(
        "not enough values to unpack (expected 2, got 1)\n", errors.MalformedSpec, 3, 400
    ),
    "not found, or private": Row(
        "Could not resolve ref for gh:a/b/c. Double check your URL and that your repo is public.\n",
        errors.RefNotFound,
        3,
        404,
    ),
    "a secret gist": Row(
        "Error resolving ref for gist:a/b/HEAD: You seem to want to use a secret Gist, but it is"
        " not allowed\n",
        errors.RefNotFound,
        3,
        400,
    ),
    "repository host failed": Row(
        "Error resolving ref for gh:a/b/HEAD: HTTP 502: Bad Gateway\n",
        errors.RepositoryHostFailed,
        6,
        500,
    ),
    "repository host limits the rate": Row(
        "Error resolving ref for gh:a/b/HEAD: GitHub rate limit exceeded. Try again in 25"
        " minutes.\n",
        errors.HostRateLimited,
        5,
        500,
    ),
    "banned": Row(
        "Sorry, a/b/HEAD is not allowed to launch. Please contact admins for more info!",
        errors.Banned,
        3,
        403,
    ),
    "network refused": Row(
        "Requests from datacenter are not allowed\n", errors.NetworkRefused, 3, 403
    ),
    "bots refused": Row("Bots not allowed\n", errors.BotsRefused, 3, 403),
    "build token": Row("Invalid build token\n", errors.BuildTokenRefused, 3, 403),
    "login needed": Row("Forbidden\n", errors.LoginRequired, 3, 403),
    "rate limit": Row(
        "Rate limit exceeded. Try again in 3600 seconds.\n", errors.RateLimited, 5, 429
    ),
    "repository quota": Row(
        "Too many users running https://github.com/a/b! Try again soon.\n",
        errors.QuotaReached,
        5,
        503,
        LAUNCH[:1],
    ),
    "hub full": Row("Too many users on this BinderHub! Try again soon.\n", errors.HubFull, 5, 503),
    "hub full, after the build": Row(
        "Too many users on this BinderHub! Try again soon.\n", errors.HubFull, 5, 503, LAUNCH[:1]
    ),
    "build failed": Row(
        "Error during build: returned non-zero exit status 1.", errors.BuildFailed, 4, 200, LOG
    ),
    "build failed without a message": Row("", errors.BuildFailed, 4, 200, LOG),
    "launch failed": Row(
        "Spawn failed: pod jupyter-x: ImagePullBackOff\n", errors.LaunchFailed, 8, 500, LAUNCH
    ),
    "launch took too long": Row(
        "Image x for user y took too long to launch\n", errors.LaunchFailed, 8, 500, LAUNCH
    ),
    "launch failed without a message": Row("", errors.LaunchFailed, 8, 500, LAUNCH),
    "hub broken": Row("Internal Server Error\n", errors.HubBroken, 6, 500),
    "hub broken while launching": Row(
        "Internal Server Error\n", errors.LaunchFailed, 8, 500, LAUNCH
    ),
    "the build is lost": Row(
        "Unhandled error watching for build x\n", errors.HubBroken, 6, 500, LOG
    ),
}


@pytest.mark.parametrize("way", ["message", "message and status", "HTTP status", "phase FAILURE"])
@pytest.mark.parametrize("name", ROWS)
def test_a_refusal_means_an_error(name: str, way: str) -> None:
    row = ROWS[name]
    fields: dict[str, object] = {"phase": "FAILURE" if way == "phase FAILURE" else "failed"}
    if row.message:
        fields["message"] = row.message
    if way == "message and status":
        fields["status_code"] = row.status
    error = refusal(
        *row.before, event(**fields), status=row.status if way == "HTTP status" else 200
    )
    assert type(error) is row.kind
    assert error.exit_code == row.code
    assert " ".join(row.message.split()) in error.message
    assert error.hint


LS_REMOTE = "Unable to run git ls-remote to get the `resolved_ref`: "
HOST_REASONS: list[tuple[str, str, type[ClinderError]]] = [
    # Final: BinderHub adds Tornado's message, or its own.
    ("gh:a/b/HEAD", "HTTP 404: Not Found", errors.RefNotFound),
    ("gh:a/b/HEAD", "HTTP 409: Conflict", errors.RefNotFound),
    ("gh:a/b/HEAD", "HTTP 451: Unavailable For Legal Reasons", errors.RefNotFound),
    ("zenodo:10.5281/zenodo.1", "HTTP 404: Not Found", errors.RefNotFound),
    ("zenodo:10.5281/zenodo.1", "HTTP 410: GONE", errors.RefNotFound),
    ("figshare:10.6084/m9.figshare.1", "HTTP 404: Not Found", errors.RefNotFound),
    ("figshare:10.6084/m9.figshare.1", "Article 1 has no versions", errors.RefNotFound),
    ("figshare:10.6084/1", "Unexpected figshare doi: 10.6084/1", errors.MalformedSpec),
    ("dataverse:10.7910/DVN/X", "HTTP 404: Not Found", errors.RefNotFound),
    ("dataverse:10.7910/DVN/X", "HTTP 401: Unauthorized", errors.RefNotFound),
    ("hydroshare:" + "8f" * 16, "HTTP 403: Forbidden", errors.RefNotFound),
    (
        "hydroshare:x",
        "The specified Hydroshare resource id was not recognized.",
        errors.MalformedSpec,
    ),
    ("ckan:https%3A%2F%2Fx", "too many values to unpack (expected 2)", errors.MalformedSpec),
    ("gl:a%2Fb/HEAD", "The project is private", errors.RefNotFound),
    # Final: git's own words.
    *(
        ("git:https%3A%2F%2Fx%2Fr.git/HEAD", LS_REMOTE + output, errors.RefNotFound)
        for output in (
            "remote: Not Found fatal: repository 'https://x/r.git/' not found",
            "fatal: could not read Username for 'https://x': No such device or address",
            "remote: HTTP Basic: Access denied fatal: Authentication failed for 'https://x/r'",
            "fatal: unable to access 'https://x/r/': The requested URL returned error: 403",
            "fatal: '/r' does not appear to be a git repository",
            "git@x: Permission denied (publickey). fatal: Could not read from remote repository.",
            "Host key verification failed. fatal: Could not read from remote repository.",
        )
    ),
    # Not final.
    *(
        ("git:https%3A%2F%2Fx%2Fr.git/HEAD", LS_REMOTE + output, errors.GitHostFailed)
        for output in (
            "fatal: unable to access 'https://x/r/': Could not resolve host: x",
            "fatal: unable to access 'https://x/r/': The requested URL returned error: 503",
            "",
        )
    ),
    ("gh:a/not-found/private", "HTTP 502: Bad Gateway", errors.RepositoryHostFailed),
    ("gh:a/b/HEAD", "HTTP 401: Bad credentials", errors.RepositoryHostFailed),
    ("gh:a/b/HEAD", "HTTP 403: Forbidden", errors.RepositoryHostFailed),
    ("zenodo:10.5281/zenodo.1", "HTTP 599: Timeout while connecting", errors.RepositoryHostFailed),
    ("dataverse:10.7910/DVN/X", "", errors.RepositoryHostFailed),
    # Final for as long as the host wants.
    ("gist:a/b", "GitHub rate limit exceeded. Try again in 5 minutes.", errors.HostRateLimited),
    ("gh:a/b/HEAD", "HTTP 403: rate limit exceeded", errors.HostRateLimited),
    ("zenodo:10.5281/zenodo.1", "HTTP 429: Too Many Requests", errors.HostRateLimited),
]


@pytest.mark.parametrize(("key", "reason", "kind"), HOST_REASONS)
def test_the_reason_of_a_repositorys_host_means_an_error(
    key: str, reason: str, kind: type[ClinderError]
) -> None:
    error = refusal(event(phase="failed", message=f"Error resolving ref for {key}: {reason}\n"))
    assert type(error) is kind
    assert reason.strip() in error.message
    assert error.hint


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.Refused),
        (403, errors.Refused),
        (429, errors.RateLimited),
        (500, HubBroken),
        (503, HubBroken),
    ],
)
@pytest.mark.parametrize("message", ["An unknown message\n", ""])
def test_an_unknown_message_is_classified_by_its_status(
    status: int, kind: type[ClinderError], message: str
) -> None:
    for error in (
        refusal(event(phase="failed", message=message, status_code=status)),
        refusal(event(phase="failed", message=message), status=status),
    ):
        assert type(error) is kind
        assert str(status) in error.message


def test_an_unknown_message_without_a_status_is_a_refusal() -> None:
    error = refusal(event(phase="failed", message="An unknown message\n"))
    assert type(error) is errors.Refused
    assert "An unknown message" in error.message
    assert type(refusal(event(phase="failed"))) is HubBroken


def test_the_first_result_counts() -> None:
    assert type(refusal(*LOG, event(phase="failed"), ready(URL, TOKEN))) is errors.BuildFailed
    *_, last = build(*LOG, ready(URL, TOKEN), event(phase="failed"))
    assert isinstance(last, Ready)


# Events before the result.


def test_events_become_progress_with_printable_lower_case_phases_and_then_ready() -> None:
    events = build(
        event(phase="Waiting", message="Waiting\r"),
        event(message="a log line"),
        event(phase="BUILD\x1b[2JING"),
        event(phase="Ready", url=URL, token=TOKEN, image="image:tag", binder_client_ip="192.0.2.1"),
    )
    assert events == [
        Progress("waiting", "Waiting\r"),
        Progress("", "a log line"),
        Progress("building", ""),
        Ready(URL, TOKEN, image="image:tag"),
    ]


def test_fields_of_the_wrong_type_count_as_missing() -> None:
    events = build(event(phase=5, message=["x"]), ready(URL, TOKEN, image=None))
    assert events == [Progress("", ""), Ready(URL, TOKEN)]


# Ready, but not usable.


@pytest.mark.parametrize(
    ("url", "token"),
    [
        (URL, ""),
        ("", TOKEN),
        ("ftp://server.example.org/user/x/", TOKEN),
        ("javascript:alert(1)", TOKEN),
        ("//server.example.org/user/x/", TOKEN),
        ("http://[::1/", TOKEN),
        ("https://user:password@server.example.org/", TOKEN),
        (URL, "a token\r\nX-Header: x"),
        ("http://server.example.org/user/x/", TOKEN),
    ],
)
def test_a_ready_server_that_cannot_be_used_is_an_error_of_the_hub(url: str, token: str) -> None:
    error = refusal(ready(url, token))
    assert type(error) is ServerUnusable
    assert error.exit_code == 6
    assert TOKEN not in str(error)


def test_a_hub_on_plain_http_can_have_servers_on_plain_http() -> None:
    plain = "http://server.test/user/x/"
    assert build(ready(plain, TOKEN), hub="http://hub.test/") == [Ready(plain, TOKEN)]


def test_a_ready_event_without_a_server_means_that_the_hub_only_built() -> None:
    events = build(event(phase="ready", imageName="image:tag", message="Done!"))
    assert events == [Built("image:tag")]


@pytest.mark.parametrize(
    ("root", "versions", "expected"),
    [
        (page(404), json_page(200, {"binderhub": "1.0"}), True),
        (page(200), json_page(200, {"binderhub": "1.0"}), False),
        (page(404), json_page(200, {"other": "1.0"}), False),
        (page(404), json_page(404, {"binderhub": "1.0"}), False),
        (page(404), page(200), False),
        (Raw([b"nonsense"]), page(200), False),
    ],
)
def test_a_binderhub_without_pages_is_in_api_only_mode(
    root: Answer | Raw, versions: Answer, *, expected: bool
) -> None:
    with ScriptedHub(pages={"/prefix/": root, "/prefix/versions": versions}) as hub:
        url = f"{hub.origin}/prefix/"
        assert is_api_only(Transport(Timeouts(5, 5)), url, deadline=Deadline(20)) is expected


# A response that is not an event stream, or is an incomplete one.


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (200, NotABinderHub),
        (404, NotABinderHub),
        (401, errors.LoginRequired),
        (403, errors.ProxyRefused),
        (413, errors.UrlTooLong),
        (414, errors.UrlTooLong),
        (431, errors.UrlTooLong),
        (429, errors.RateLimited),
        (500, HubBroken),
        (502, HubBroken),
        (503, errors.HubDown),
        (504, HubBroken),
    ],
)
def test_a_page_instead_of_an_event_stream_is_an_error(
    status: int, kind: type[ClinderError]
) -> None:
    with ScriptedHub(page(status)) as hub:
        error = failure(hub)
    assert type(error) is kind
    assert str(status) in error.message


JUST_A_MOMENT = b"<!DOCTYPE html><html><head><title>Just a moment...</title>"
PASSWORD = b"<form action='/sessions'><input name=password type=password></form>"


@pytest.mark.parametrize(
    "answer",
    [
        page(403, Cf_Mitigated="challenge"),
        page(503, Cf_Mitigated="challenge"),
        page(403, JUST_A_MOMENT),
        page(200, b"<script src='/.within.website/x/cmd/anubis/static/js/main.mjs'>"),
        page(202, b"", X_Amzn_Waf_Action="challenge"),
        page(405, b"", X_Amzn_Waf_Action="captcha"),
    ],
)
def test_a_challenge_page_is_recognised(answer: Answer) -> None:
    with ScriptedHub(answer) as hub:
        error = failure(hub)
    assert type(error) is errors.ChallengePage
    assert (error.exit_code, str(answer.status) in error.message) == (3, True)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (json_page(401, {"detail": "Not logged in.\x1b[2J"}), "status 401 (Not logged in)."),
        (json_page(403, {"message": ["x"], "error": "no token"}), "status 403 (no token)."),
        (json_page(403, []), "status 403."),
        (page(200, PASSWORD), "a login page."),
        (page(403, b'<form method="GET" action="/oauth2/start">'), "a login page."),
    ],
)
def test_a_hub_that_requires_a_login_is_recognised(answer: Answer, reason: str) -> None:
    with ScriptedHub(answer) as hub:
        error = failure(hub)
    assert type(error) is errors.LoginRequired
    assert error.message.endswith(reason)


@pytest.mark.parametrize(
    "location",
    [
        "/hub/login?next=%2Fbuild%2Fgh%2Forg%2Frepo%2FHEAD",
        "/oauth2/sign_in?rd=%2Fbuild%2Fgh%2Forg%2Frepo%2FHEAD",
        "/cdn-cgi/access/login/hub.test?redirect_url=%2Fbuild%2Fgh",
        "/realms/hub/protocol/openid-connect/auth?client_id=hub",
        "/idp/profile/SAML2/Redirect/SSO?SAMLRequest=x",
        "/if/flow/default/?client_id=hub",
    ],
)
def test_a_redirect_to_a_login_is_recognised_and_shown_without_its_query(location: str) -> None:
    with ScriptedHub(moved(location)) as hub:
        hub.pages[location.partition("?")[0]] = page(200)
        error = failure(hub)
    assert type(error) is errors.LoginRequired
    assert error.message.endswith(f"it redirects to {hub.origin}{location.partition('?')[0]}.")


def test_a_redirect_to_a_login_that_is_not_followed_is_recognised() -> None:
    with ScriptedHub(*[moved("/login")] * 2, pages={"/login": moved("/login")}) as hub:
        assert type(failure(hub)) is errors.LoginRequired


@pytest.mark.parametrize("location", ["/build/gh/org/login/HEAD", "/welcome", "http://[/login"])
def test_another_redirect_is_not_a_login(location: str) -> None:
    with ScriptedHub(moved(location), page(200)) as hub:
        hub.pages["/welcome"] = page(200)
        assert type(failure(hub)) is NotABinderHub


VERSIONS = {"/versions": json_page(200, {"builder_info": {}, "binderhub": "1.0"})}


@pytest.mark.parametrize("status", [400, 404])
@pytest.mark.parametrize(
    ("spec", "pages", "kind"),
    [
        ("gl/a%2Fb/HEAD", VERSIONS, errors.SlashesRefused),
        ("gl/a%2Fb/HEAD", {}, NotABinderHub),
        ("gl/a%2Fb/HEAD", {"/versions": page(200)}, NotABinderHub),
        ("gh/a/b/HEAD", VERSIONS, NotABinderHub),
    ],
)
def test_a_proxy_that_refuses_encoded_slashes_is_recognised(
    spec: str, pages: Mapping[str, Answer], kind: type[ClinderError], status: int
) -> None:
    with (
        ScriptedHub(page(status), pages=pages) as hub,
        pytest.raises(ClinderError) as error,
    ):
        list(request_build(Transport(Timeouts(5, 5)), hub.url, spec, deadline=Deadline(60)))
    assert type(error.value) is kind


RETRYING = event(phase="launching", message="Launch attempt 1 failed, retrying...\n")
LAUNCH_FAILS = event(phase="failed", status_code=500, message="Internal Server Error\n")


@pytest.mark.parametrize(
    ("pages", "kind"),
    [
        (VERSIONS, NotABinderHub),
        ({**VERSIONS, "/": page(200)}, errors.LaunchFailed),
        ({**VERSIONS, "/": Raw([], Ending.RESET)}, errors.LaunchFailed),
        ({"/versions": json_page(200, [])}, errors.LaunchFailed),
        ({"/versions": Raw([], Ending.HELD)}, errors.LaunchFailed),
    ],
)
@pytest.mark.parametrize("stream", [(*LAUNCH, RETRYING, LAUNCH_FAILS), (*LAUNCH, LAUNCH_FAILS)])
def test_a_hub_that_launches_nothing_and_has_no_page_only_builds(
    stream: tuple[bytes, ...], pages: Mapping[str, Answer | Raw], kind: type[ClinderError]
) -> None:
    with ScriptedHub(Answer(b"".join(stream)), pages=pages) as hub:
        error = failure(hub)
    assert type(error) is kind
    assert ("only builds" in error.message) is (kind is NotABinderHub)


def test_a_hub_that_launches_is_not_asked_whether_it_only_builds() -> None:
    with ScriptedHub(Answer(b"".join(LAUNCH) + ready(URL, TOKEN))) as hub:
        list(request_build(Transport(), hub.url, SPEC, deadline=Deadline(60)))
        assert hub.requests == hub.builds


@pytest.mark.parametrize("answer", [Raw([], Ending.HELD), Answer(LOG[0], ending=Ending.HELD)])
def test_the_hint_about_a_silent_hub_names_a_proxy_that_holds_the_stream_back(
    answer: Answer | Raw,
) -> None:
    with ScriptedHub(answer) as hub:
        error = failure(hub)
    assert type(error) is errors.HubSilent
    for part in ("proxy", "--idle-timeout", "server"):
        assert part in error.hint


@pytest.mark.parametrize(
    "content_type", ["text/event-stream; charset=utf-8", "TEXT/Event-Stream", " text/event-stream "]
)
def test_an_event_stream_is_recognised_by_its_content_type(content_type: str) -> None:
    with ScriptedHub(Answer(event(phase="failed", message="Forbidden"), 200, content_type)) as hub:
        error = failure(hub)
    assert type(error) is errors.LoginRequired


def test_an_unprintable_content_type_is_not_shown() -> None:
    with ScriptedHub(Answer(b"", 200, "text/\x1b[31mred")) as hub:
        error = failure(hub)
    assert error.message.endswith("200 and another content type instead of an event stream.")


@pytest.mark.parametrize(
    "answer",
    [
        Answer(b"".join(LAUNCH)),
        Answer(b"".join(LAUNCH), framing=Framing.CLOSE),
        Answer(b"".join(LAUNCH) + ready(URL, TOKEN)[:-1]),
        Answer(b""),
    ],
    ids=["chunked", "closed", "incomplete result", "empty"],
)
def test_a_stream_that_ends_before_its_result_counts_as_unreachable(answer: Answer) -> None:
    with ScriptedHub(answer) as hub:
        error = failure(hub)
    assert type(error) is HubUnreachable
    assert "ended the event stream" in error.message


def test_an_error_status_without_an_event_is_an_error_of_the_hub() -> None:
    with ScriptedHub(Answer(b":keepalive\n\n", 503)) as hub:
        error = failure(hub)
    assert type(error) is HubBroken


# The request.


def test_the_request_has_the_form_that_hubs_expect() -> None:
    with ScriptedHub(Answer(ready(URL, TOKEN), ending=Ending.HELD), prefix="/pre/fix/") as hub:
        spec = "gl/group%2Fproject/feature/a%23b"
        for _ in request_build(
            Transport(), hub.url, spec, deadline=Deadline(60), build_token="a/b+c"
        ):
            pass
        (request,) = hub.builds
        assert request.left.wait(60), "the request ends with `ready`"
    assert request.path == f"/pre/fix/build/{spec}?build_token=a%2Fb%2Bc"
    assert request.headers["accept"] == "text/event-stream"
    assert "authorization" not in request.headers


def test_closing_the_iterator_ends_the_request() -> None:
    with ScriptedHub(Answer(LOG[0], ending=Ending.HELD, cut=bytewise)) as hub:
        events = request_build(Transport(), hub.url, SPEC, deadline=Deadline(60))
        assert next(events) == Progress("waiting", "Waiting\n")
        events.close()
        assert hub.builds[0].left.wait(60)


# Redirects.


class RedirectedTo(Transport):
    """A transport whose hub redirects every build request to this URL."""

    def __init__(self, url: str):
        super().__init__()
        self._url = url

    @contextmanager
    def stream(
        self, url: str, *, deadline: Deadline, headers: Mapping[str, str], token: str = ""
    ) -> Iterator[Stream]:
        chunks = iter([bytearray(ready(URL, TOKEN))])
        yield Stream(self._url, 200, {"Content-Type": "text/event-stream"}, chunks)


@pytest.mark.parametrize(
    "url",
    [
        "https://hub.test/pre%20fix/build/gl/a%2fb/c%20d/%C3%BC%2C%7E",
        "https://hub.test/pre%20fix/build/gl/a/b/c%20d/%C3%BC%2C~",
        "https://hub.test/pre%20fix/build/gl/a%2Fb/c%2520d/%C3%BC,~",
        "https://hub.test/pre%20fix/build/gl/a%2Fb/c d/\xc3\xbc%2C~",
        "https://hub.test/pre%20fix/build/gl/a%2Fb%2Fc%20d%2F%C3%BC%2C~/",
        "https://hub.test/pre fix/build/gl/a%2Fb/c%20d/%C3%BC%2C~",
        "https://hub.test/pre%20fix/build/gl/a%2Fb/0123abcd?build_token=hidden#x",
        "https://HUB.TEST:443/pre%20fix/build/gl/a%2Fb/c%20d/%C3%BC%2C~",
    ],
)
def test_a_redirect_within_the_hub_names_no_member(url: str) -> None:
    """However the spec, the prefix or the host is written."""
    hub, spec = "https://hub.test/pre%20fix/", "gl/a%2Fb/c%20d/%C3%BC%2C~"
    events = list(request_build(RedirectedTo(url), hub, spec, deadline=Deadline(60)))
    assert events == [Ready(URL, TOKEN)]


@pytest.mark.parametrize(
    ("url", "member"),
    [
        ("https://member.test/build/gh/a/b/c", "https://member.test/"),
        ("https://member.test/build/gh%2Fa/b/c?build_token=hidden", "https://member.test/"),
        ("https://member.test/pre/build/gh/a/b/build/c", "https://member.test/pre/"),
        ("https://hub.test:8443/build/gh/a/b/build/c", "https://hub.test:8443/"),
        ("https://hub.test/another/build/gh/a/b/build/c", "https://hub.test/another/"),
        ("http://hub.test/build/gh/a/b/build/c", "http://hub.test/"),
        ("https://user:hidden@member.test/build/gh/a/b/c", ""),
        ("https://login.test/?next=/build/gh/a/b/c", ""),
        ("https://hub.test/hub/login", ""),
        ("https://member.test", ""),
    ],
)
def test_only_a_redirect_to_another_hubs_build_names_the_member(url: str, member: str) -> None:
    spec = "gh/a/b/build/c"
    events = list(request_build(RedirectedTo(url), HUB, spec, deadline=Deadline(60)))
    assert events == [*([Redirected(member)] if member else []), Ready(URL, TOKEN)]


@pytest.mark.parametrize(
    "listing",
    [
        json_page(200, {"active_hosts": {"a": 5, "b": None, "c": {"url": "x y"}, "d": {}}}),
        json_page(200, {"active_hosts": ["http://127.0.0.1/"]}),
        json_page(200, []),
        page(404),
    ],
    ids=["invalid members", "a list", "no object", "not found"],
)
def test_a_response_that_lists_no_members_means_none(listing: Answer | Raw) -> None:
    with ScriptedHub(pages={"/active_hosts": listing}) as hub:
        assert members(Transport(Timeouts(5, 5)), hub.url, deadline=Deadline(20)) == ()


@pytest.mark.parametrize(
    ("listing", "kind"),
    [
        (page(503), HubBroken),
        (Raw([b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{"]), HubUnreachable),
    ],
)
def test_a_federation_that_cannot_list_its_members_is_an_error(
    listing: Answer | Raw, kind: type[ClinderError]
) -> None:
    with ScriptedHub(pages={"/active_hosts": listing}) as hub:
        with pytest.raises(ClinderError, match="The hub did not list its members: ") as error:
            members(Transport(Timeouts(5, 5)), hub.url, deadline=Deadline(20))
        assert type(error.value) is kind


def test_a_member_that_gets_no_launches_is_no_member() -> None:
    hosts = {
        "a": {"url": "https://a.test", "weight": 1},
        "b": {"url": "https://b.test", "weight": 0},
        "c": {"url": "https://c.test"},
    }
    with ScriptedHub(pages={"/active_hosts": json_page(200, {"active_hosts": hosts})}) as hub:
        listed = members(Transport(Timeouts(5, 5)), hub.url, deadline=Deadline(20))
        assert listed == ("https://a.test/", "https://c.test/")
