"""Who may ask the explorer's server: whoever knows its token, from this machine, by its own name.

Every request, of a page, a script or a websocket, passes `Gate.find_handler` before a handler is
chosen. Bokeh's own hooks for users would come too late: static files do not ask them, a websocket
is opened before they are asked, and who is refused is sent to a form of login. Asked are, in turn,

    Host     names this server, so that a foreign name that points here is of no use (DNS rebinding)
    Origin   is this server's page, if there is any
    token    in the address once, in exchange for a cookie that Tornado signs (HMAC), and from then
             on the cookie

The cookie is sent to no other site, and no script can read it. Cookies do not tell ports apart, so
its name does.
"""

import hmac
import secrets
from collections.abc import Mapping
from typing import Any

from bokeh.resources import Resources
from bokeh.server.tornado import BokehTornado
from bokeh.server.views.static_handler import StaticHandler
from tornado.web import OutputTransform, RequestHandler, decode_signed_value

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_DAYS = 31  # that a page may stay open, and a cookie is good for
#: Bokeh's script for pages of other sites, and its data for them.
_UNUSED = ("/autoload.js", "/metadata")
#: Scripts, styles, images and connections of this server alone.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self' {sockets}; object-src 'none'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
#: Leads on to the page without the token in its address, from this site, as the cookie wants it.
_ENTER = """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>hopfax explore</title>
<meta http-equiv="refresh" content="0; url=/"></head>
<body><a href="/">hopfax explore</a></body></html>
"""
_REFUSED = """<!DOCTYPE html><html lang="en">
<head><meta charset="utf-8"><title>Refused</title></head>
<body style="font-family: system-ui, sans-serif"><h1>Refused</h1><p>Open the address that
<code>hopfax explore</code> printed, with its token. Through a tunnel keep the number of the port:
<code>ssh -L PORT:127.0.0.1:PORT</code>.</p></body></html>
"""


class Gate(BokehTornado):
    """Bokeh's application behind a token. `port`: where it will listen, on 127.0.0.1."""

    def __init__(self, applications: Mapping[str, Any], port: int, **options: Any):
        self.token = secrets.token_hex(24)
        self.cookie = f"hopfax-explore-{port}"
        names = [f"{host}:{port}" for host in ("127.0.0.1", "localhost")]
        self._hosts = set(names) | ({"127.0.0.1", "localhost"} if port == 80 else set())
        self._origins = {f"http://{name}" for name in self._hosts}
        sockets = " ".join(f"ws://{name}" for name in sorted(self._hosts))
        super().__init__(
            applications,
            extra_websocket_origins=names,
            secret_key=secrets.token_bytes(32),
            sign_sessions=True,
            include_headers=[],
            include_cookies=[],
            session_token_expiration=_DAYS * 24 * 3600,
            cookie_secret=secrets.token_bytes(32),
            transforms=[_with_headers(_POLICY.format(sockets=sockets))],
            log_function=_silent,
            **options,
        )

    def find_handler(self, request: Any, **kwargs: Any) -> Any:
        """The handler of a request, or one that refuses it."""
        headers = request.headers
        hosts, origins = headers.get_list("Host"), headers.get_list("Origin")
        here = len(hosts) == 1 and hosts[0].lower() in self._hosts
        ours = all(origin.lower() in self._origins for origin in origins)
        if not (here and ours):
            return self.get_handler_delegate(request, Refused)
        given = request.arguments.get("token", [])
        if request.path == "/" and given:
            right = len(given) == 1 and hmac.compare_digest(given[0], self.token.encode())
            return self.get_handler_delegate(request, Enter if right else Refused)
        if not self._known(request) or request.path.startswith(_UNUSED):
            return self.get_handler_delegate(request, Refused)
        return super().find_handler(request, **kwargs)

    def _known(self, request: Any) -> bool:
        """Whether a request has the cookie that was given for the token."""
        cookie = request.cookies.get(self.cookie)
        if cookie is None:
            return False
        secret = self.settings["cookie_secret"]
        return decode_signed_value(secret, self.cookie, cookie.value, _DAYS) is not None

    def resources(self, absolute_url: str | bool | None = None) -> Resources:
        """Bokeh's scripts as this server has them, whatever the environment says."""
        del absolute_url
        return Resources(
            mode="server",
            root_url="/",
            components=["bokeh", "bokeh-widgets"],
            path_versioner=StaticHandler.append_version,
        )


class Enter(RequestHandler):
    """The right token: a cookie, and the way to the page."""

    application: Gate

    def get(self) -> None:
        """Give the cookie."""
        how: dict[str, Any] = dict(httponly=True, samesite="Strict", path="/")
        self.set_signed_cookie(self.application.cookie, "in", expires_days=None, **how)
        self.set_header("Cache-Control", "no-store")
        self.write(_ENTER)


class Refused(RequestHandler):
    """403 for whatever is asked, also for a websocket."""

    def prepare(self) -> None:
        """Refuse."""
        self.set_status(403)
        self.finish(_REFUSED)


def _with_headers(policy: str) -> type[OutputTransform]:
    """What adds to every answer what a browser may do with it."""

    class Headers(OutputTransform):
        def transform_first_chunk(self, status_code, headers, chunk, finishing):
            for name, value in _HEADERS.items():
                headers[name] = value
            headers["Content-Security-Policy"] = policy
            return status_code, headers, chunk

    return Headers


def _silent(handler: RequestHandler) -> None:
    """Log no requests."""
