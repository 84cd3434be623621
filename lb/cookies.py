"""A cookie jar for gRPC: without one, a sticky balancer's cookie is never sent back.

gRPC has no cookies of its own: whoever makes the calls must keep what `set-cookie` brings, in initial
metadata or, in an error without a body, in trailing metadata, and add it to the next call's metadata.
"""

import re
import time
from collections.abc import Iterable, Mapping
from email.utils import parsedate_to_datetime
from http.cookies import CookieError, SimpleCookie

WHOLE_NUMBER = re.compile("-?[0-9]+")
SERVICE = "/video_service.VideoService"  # the path of every call is one below it


class CookieJar:
    """The cookies of one session, name -> value, for one target and its VideoService.

    `secure`: calls are encrypted; otherwise cookies that are Secure are not kept. A cookie for another path
    is not kept either. Source: RFC 6265, sections 5.2 to 5.4; there is one host, so Domain says nothing.
    """

    def __init__(self, secure: bool = False) -> None:
        self._secure = secure
        self._cookies: dict[str, tuple[str, float]] = {}

    def header(self) -> str | None:
        """The one `cookie` header to send now, or None when the jar holds nothing that is still valid."""
        if not self._cookies:
            return None
        now_s = time.monotonic()
        live = [f"{name}={value}" for name, (value, until_s) in self._cookies.items() if until_s > now_s]
        return "; ".join(live) or None

    def keep(self, metadata: Iterable[tuple[str, str | bytes]] | None) -> None:
        """Take over every `set-cookie` of a call's metadata. A malformed one is ignored, as browsers do."""
        for key, value in metadata or ():
            if key == "set-cookie" and isinstance(value, str):
                self._set(value)

    def _set(self, text: str) -> None:
        pair, *rest = text.split(";")
        try:
            morsels = SimpleCookie(pair)
        except CookieError:
            return
        # By hand: SimpleCookie drops a whole cookie for an attribute that it does not know.
        named = (attribute.partition("=") for attribute in rest)
        attributes = {name.strip().lower(): value.strip() for name, _, value in named}
        for name, morsel in morsels.items():
            if (self._secure or "secure" not in attributes) and _is_here(attributes.get("path", "")):
                # The coded value goes back byte for byte: Envoy quotes its base64.
                self._cookies[name] = (morsel.coded_value, time.monotonic() + _lifetime_s(attributes))


def _is_here(path: str) -> bool:
    """Whether a cookie with that attribute Path goes with the calls of SERVICE; others are ignored."""
    return not path.startswith("/") or f"{SERVICE}/".startswith(f"{path.rstrip('/')}/")


def _lifetime_s(attributes: Mapping[str, str]) -> float:
    """Seconds from now; 0 or less: the cookie is deleted. Max-Age goes before Expires."""
    if WHOLE_NUMBER.fullmatch(attributes.get("max-age", "")):
        return int(attributes["max-age"])
    try:
        return parsedate_to_datetime(attributes["expires"]).timestamp() - time.time()
    except (KeyError, ValueError, OverflowError):
        return float("inf")
