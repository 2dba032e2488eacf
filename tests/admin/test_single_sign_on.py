"""Log-ins by OpenID Connect: with a real provider, and with one that says what it should not."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey
from selenium import webdriver

from admin import oidc_provider
from admin.browser import WITHIN, Page
from admin.conftest import local_client
from admin.scene import CONFIG, Scene, config_of
from admin.test_page import driver  # noqa: F401 - a fixture
from peers import free_port
from whyray.admin import serve_admin
from whyray.base.passwords import hashed
from whyray.base.sources import system_clock
from whyray.catalog import Event, accounts
from whyray.config import read_config

ROLES = {"whyray-admins": "administrator", "radiologists": "reader"}


def configured(scene: Scene, port: int, issuer: str, **more: Any) -> None:
    section = {"issuer": issuer, "client_id": "whyray", "url": f"http://127.0.0.1:{port}", "roles": ROLES, **more}
    scene.config = config_of(
        CONFIG + f"admin: {json.dumps({'oidc': section})}\n", scene.folder, S=oidc_provider.CLIENT_SECRET
    )


@pytest.fixture(scope="module")
def port() -> int:
    """Of the admin page: the provider knows it before it is served."""
    return free_port()


@pytest.fixture(scope="module")
def issuer(port: int) -> Iterator[str]:
    own = f"http://127.0.0.1:{port}"
    try:
        with oidc_provider.running(free_port(), f"{own}/login/oidc/back", f"{own}/login") as provider:
            yield provider
    except oidc_provider.ProviderMissingError as missing:
        pytest.skip(str(missing))


@pytest.fixture
def served(scene: Scene, port: int) -> Iterator[str]:
    scene.catalog.clock = system_clock  # tokens are judged by the clock that the provider has
    server = serve_admin(local_client(scene).app, "127.0.0.1", port)  # type: ignore[arg-type]
    yield server.url.rstrip("/")
    server.stop()


def told(scene: Scene, kind: str) -> list[tuple[str, str]]:
    with scene.catalog.read() as session:
        return [(row.actor, row.message) for row in session.query(Event).filter(Event.kind == kind).order_by(Event.id)]


def way_to(browser: httpx.Client, start: str, user: str) -> httpx.Response:
    """From the log-in page through the provider's forms to the last answer of ours, as a browser would go."""
    response = browser.get(start)
    for _ in range(12):
        if response.is_redirect:
            response = browser.get(
                response.headers["location"] if "://" in response.headers["location"] else response.next_request.url
            )  # type: ignore[union-attr]
            continue
        form = re.search(r'<form[^>]* action="([^"]*)"', response.text)
        if form is None or response.url.host != "localhost":
            return response
        fields = dict(re.findall(r'<input[^>]* name="([^"]*)" value="([^"]*)"', response.text))
        if 'name="login"' in response.text:
            fields |= {"login": user, "password": "any"}
        response = browser.post(form[1], data=fields)
    raise AssertionError(f"no end at {response.url}")


@pytest.mark.parametrize(
    ("user", "client", "kind"),
    [("ada", "whyray", "administrator"), ("ada", "whyray-public", "administrator"), ("rae", "whyray", "reader")],
)
def test_a_real_provider_lets_in_whom_it_knows_with_the_role_of_their_group(
    scene: Scene, served: str, port: int, issuer: str, user: str, client: str, kind: str
) -> None:
    secret = {"client_secret": {"env": "S"}} if client == "whyray" else {}
    configured(scene, port, issuer, client_id=client, **secret)
    with httpx.Client(timeout=WITHIN) as browser:
        assert "Log in by single sign-on" in browser.get(f"{served}/login").text
        last = way_to(browser, f"{served}/login/oidc?next=/reading", user)
        assert (last.status_code, 'content="0;url=/reading"' in last.text) == (200, True)
        cookie = next(value for name, value in last.headers.multi_items() if "whyray_session" in value)
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert browser.get(f"{served}/api/v1/me").json() | {"rights": []} == {"name": user, "kind": kind, "rights": []}
        assert told(scene, "admin.login") == [(user, f"by single sign-on, subject {user}, from 127.0.0.1")]
        configured(scene, port, issuer, client_id=client, role_claim="other", **secret)
        assert browser.get(f"{served}/api/v1/me").status_code == 401  # it came in under another rule


def test_logging_out_leads_to_the_end_of_the_session_at_the_provider_too(
    scene: Scene, served: str, port: int, issuer: str
) -> None:
    configured(scene, port, issuer, client_secret={"env": "S"})
    with httpx.Client(timeout=WITHIN) as browser:
        way_to(browser, f"{served}/login/oidc", "ada")
        out = browser.post(f"{served}/logout").text
        where = re.search(r'url=([^"]*)"', out)
        assert where is not None
        asked = parse_qs(urlsplit(where[1].replace("&amp;", "&")).query)
        assert asked["post_logout_redirect_uri"] == [f"{served}/login"]
        assert browser.get(where[1].replace("&amp;", "&")).status_code == 200
        assert browser.get(f"{served}/api/v1/me").status_code == 401


@pytest.mark.parametrize(
    ("user", "why"),
    [
        ("guest", "guest has none of the roles that are let in"),
        ("none", "none has none of the roles that are let in"),
        ("rae", "rae is the name of a local account"),
        ("token", "the claim preferred_username is no name that can be entered"),
    ],
)
def test_who_has_no_role_or_another_ones_name_is_not_let_in(
    scene: Scene, served: str, port: int, issuer: str, user: str, why: str
) -> None:
    configured(scene, port, issuer, client_secret={"env": "S"})
    with scene.catalog.begin() as session:
        accounts.add(session, "Rae", "viewer", "no hash", scene.now, actor="test")
    with httpx.Client(timeout=WITHIN) as browser:
        last = way_to(browser, f"{served}/login/oidc", user)
        assert (last.status_code, why in last.text) == (403, True)
        assert browser.get(f"{served}/api/v1/me").status_code == 401
    assert told(scene, "admin.login-failed") == [("unknown", f"by single sign-on from 127.0.0.1: {why}")]


def test_in_a_browser_the_strict_cookie_is_there_after_the_way_over_another_site(
    driver: webdriver.Chrome,  # noqa: F811
    scene: Scene,
    served: str,
    port: int,
    issuer: str,
) -> None:
    configured(scene, port, issuer, client_secret={"env": "S"}, label="the hospital's log-in")
    page = Page(driver, served)
    driver.get(f"{served}/login")
    page.press('a[href^="/login/oidc"]')
    page.find('input[name="login"]').send_keys("ada")
    page.find('input[name="password"]').send_keys("any")
    page.press('button[type="submit"]')
    page.until(lambda: "consent" in driver.page_source, "the provider's question for consent")
    page.press('button[type="submit"]')
    page.shows("Needs attention")
    assert "ada · administrator" in page.text("header")
    page.press("header button")
    page.until(lambda: driver.current_url.startswith(issuer), "the provider's log-out")
    driver.get("about:blank")
    driver.delete_all_cookies()


# --- a provider that lies -----------------------------------------------------------------------------------------


class Liar:
    """Says of itself and of users what a test makes it say; signs with a key of its own."""

    def __init__(self) -> None:
        self.key = RSAKey.generate_key(2048, {"kid": "1", "alg": "RS256", "use": "sig"})
        self.nonce = ""
        self.claims: dict[str, Any] = {}
        self.header: dict[str, Any] = {}
        self.signing: Any = self.key
        self.metadata: dict[str, Any] = {}
        self.verifier = ""
        liar = self

        class Answering(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                return

            def do_GET(self) -> None:
                path = urlsplit(self.path).path
                if path == "/auth":
                    liar.nonce = parse_qs(urlsplit(self.path).query)["nonce"][0]
                self._give(liar.about() if "openid" in path else {"keys": [liar.key.as_dict(private=False)]})

            def do_POST(self) -> None:
                form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                liar.verifier = form.get("code_verifier", [""])[0]
                self._give({"id_token": liar.token(), "access_token": "x", "token_type": "Bearer"})

            def _give(self, body: dict[str, Any]) -> None:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(json.dumps(body).encode())

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
        self.issuer = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def about(self) -> dict[str, Any]:
        base = self.issuer
        return {
            "issuer": base,
            "authorization_endpoint": f"{base}/auth",
            "token_endpoint": f"{base}/token",
            "jwks_uri": f"{base}/keys",
            "id_token_signing_alg_values_supported": ["RS256", "HS256", "none"],
        } | self.metadata

    def token(self) -> str:
        now = int(time.time())
        claims = {
            **{"iss": self.issuer, "sub": "1", "aud": "whyray", "iat": now, "exp": now + 300, "nonce": self.nonce},
            **{"preferred_username": "ada", "groups": "whyray-admins"},
        } | self.claims
        claims = {name: value for name, value in claims.items() if value is not None}
        header = {"alg": "RS256", "kid": "1"} | self.header
        algorithms = ["RS256", "HS256", "none"]
        return jwt.encode(header, claims, self.signing, algorithms=algorithms)


@pytest.fixture
def liar() -> Iterator[Liar]:
    liar = Liar()
    yield liar
    liar.server.shutdown()
    liar.server.server_close()


def come_back(served: str, liar: Liar, **changed: str) -> httpx.Response:
    with httpx.Client(timeout=WITHIN) as browser:
        asked = browser.get(f"{served}/login/oidc").headers["location"]
        browser.get(asked)
        query = {"state": parse_qs(urlsplit(asked).query)["state"][0], "code": "c", **changed}
        last = browser.get(f"{served}/login/oidc/back", params=query)
        assert browser.get(f"{served}/api/v1/me").status_code == (200 if last.status_code == 200 else 401)
        return last


def test_the_liar_is_believed_where_it_tells_the_truth(scene: Scene, served: str, port: int, liar: Liar) -> None:
    configured(scene, port, liar.issuer)
    assert come_back(served, liar).status_code == 200
    assert len(liar.verifier) >= 43  # PKCE


@pytest.mark.parametrize(
    ("lie", "why"),
    [
        ({"claims": {"aud": "another"}}, "InvalidClaimError: aud"),
        ({"claims": {"aud": ["whyray", "another"], "azp": "another"}}, "InvalidClaimError: azp"),
        ({"claims": {"iss": "https://another.example"}}, "InvalidClaimError: iss"),
        ({"claims": {"exp": 1_000_000_000}}, "ExpiredTokenError"),
        ({"claims": {"exp": None}}, "MissingClaimError: exp"),
        ({"claims": {"nonce": "of-another-log-in"}}, "InvalidClaimError: nonce"),
        ({"claims": {"nonce": None}}, "MissingClaimError: nonce"),
        ({"claims": {"sub": None}}, "MissingClaimError: sub"),
        ({"header": {"alg": "none"}}, "UnsupportedAlgorithmError"),
        ({"header": {"alg": "HS256"}, "signing": OctKey.import_key("whyray")}, "UnsupportedAlgorithmError"),
        ({"signing": RSAKey.generate_key(2048)}, "BadSignatureError"),
        ({"header": {"kid": "2"}}, "InvalidKeyIdError"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_id_token_that_is_not_what_it_has_to_be_lets_nobody_in(
    scene: Scene, served: str, port: int, liar: Liar, lie: dict[str, Any], why: str
) -> None:
    configured(scene, port, liar.issuer)
    vars(liar).update(lie)
    assert come_back(served, liar).status_code == 403
    ((_, message),) = told(scene, "admin.login-failed")
    assert why in message
    assert "its ID token is not believed" in message
    assert told(scene, "admin.login") == []


@pytest.mark.parametrize(
    "changed", [{"state": "guessed"}, {"code": ""}, {"error": "access_denied"}, {"iss": "https://another.example"}]
)
def test_a_way_back_that_did_not_begin_here_lets_nobody_in(
    scene: Scene, served: str, port: int, liar: Liar, changed: dict[str, str]
) -> None:
    configured(scene, port, liar.issuer)
    assert come_back(served, liar, **changed).status_code == 403
    assert len(told(scene, "admin.login-failed")) == 1


def test_a_way_back_is_good_once_and_in_its_own_browser_alone(scene: Scene, served: str, port: int, liar: Liar) -> None:
    configured(scene, port, liar.issuer)
    with httpx.Client(timeout=WITHIN) as victim, httpx.Client(timeout=WITHIN) as attacker:
        states = []
        for browser in (victim, attacker):
            asked = browser.get(f"{served}/login/oidc").headers["location"]
            browser.get(asked)
            states.append(parse_qs(urlsplit(asked).query)["state"][0])
        back = f"{served}/login/oidc/back"
        assert victim.get(back, params={"state": states[1], "code": "c"}).status_code == 403
        assert attacker.get(back, params={"state": states[1], "code": "c"}).status_code == 403  # it was tried
        liar.claims = {"nonce": None}
        assert victim.get(back, params={"state": states[0], "code": "c"}).status_code == 403
        liar.claims = {}
        assert victim.get(back, params={"state": states[0], "code": "c"}).status_code == 403


@pytest.mark.parametrize(
    ("metadata", "why"),
    [
        ({"issuer": "https://another.example"}, "another name"),
        ({"token_endpoint": "http://login.hospital.example/token"}, "without https"),
        ({"jwks_uri": None}, "its configuration"),
    ],
)
def test_a_provider_that_says_odd_things_of_itself_is_not_asked(
    scene: Scene, served: str, port: int, liar: Liar, metadata: dict[str, Any], why: str
) -> None:
    configured(scene, port, liar.issuer)
    liar.metadata = metadata
    answer = httpx.get(f"{served}/login/oidc", timeout=WITHIN)
    assert (answer.status_code, why in answer.text) == (502, True)


def test_user_info_about_somebody_else_lets_nobody_in(scene: Scene, served: str, port: int, liar: Liar) -> None:
    configured(scene, port, liar.issuer)
    liar.metadata = {"userinfo_endpoint": f"{liar.issuer}/me"}
    assert come_back(served, liar).status_code == 200  # it is not asked for what the ID token says
    liar.claims = {"groups": None}
    assert come_back(served, liar).status_code == 403
    assert "another user" in told(scene, "admin.login-failed")[0][1]


def test_while_the_provider_is_down_accounts_log_in(scene: Scene, served: str, port: int) -> None:
    configured(scene, port, f"http://127.0.0.1:{free_port()}")
    with scene.catalog.begin() as session:
        accounts.add(session, "ada", "viewer", hashed("correct horse battery"), scene.now, actor="test")
    answer = httpx.get(f"{served}/login/oidc", timeout=WITHIN)
    assert (answer.status_code, "does not answer" in answer.text) == (502, True)
    form = {"user": "ada", "password": "correct horse battery"}
    assert httpx.post(f"{served}/login", data=form, headers={"Origin": served}, timeout=WITHIN).status_code == 303


def test_a_session_lasts_as_long_as_the_configuration_says(scene: Scene, served: str, port: int, liar: Liar) -> None:
    configured(scene, port, liar.issuer, session="5m")
    with httpx.Client(timeout=WITHIN) as browser:
        asked = browser.get(f"{served}/login/oidc").headers["location"]
        browser.get(asked)
        state = parse_qs(urlsplit(asked).query)["state"][0]
        last = browser.get(f"{served}/login/oidc/back", params={"state": state, "code": "c"})
    assert "Max-Age=300" in last.headers["set-cookie"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"issuer": "http://login.hospital.example"}, "https alone"),
        ({"scopes": ["profile"]}, "openid"),
        ({"session": "3d"}, "between a minute and a day"),
        ({"client_secret": "hunter2hunter2"}, "not written here in clear"),
        ({"roles": {"x": "root"}}, "administrator"),
        ({"roles": {}}, "at least one"),
    ],
)
def test_a_section_that_would_not_do_is_refused(scene: Scene, change: dict[str, Any], why: str) -> None:
    section = {"issuer": "https://x.example", "client_id": "w", "url": "https://y.example", "roles": ROLES} | change
    config, problems = read_config(f"admin: {json.dumps({'oidc': section})}\n", folder=scene.folder, environ={})
    assert config is None
    assert why in " ".join(map(str, problems))
    assert "hunter2" not in " ".join(map(str, problems))
