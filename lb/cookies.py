"""A cookie jar for gRPC, which sends a sticky balancer's cookie back.

gRPC itself has no cookies. The caller must keep the values of `set-cookie` and add them to the metadata of
the next call. It is in the initial metadata, or in the trailing metadata of an error without a body.
"""

import re
import time
from collections.abc import Iterable, Mapping
from email.utils import parsedate_to_datetime
from http.cookies import CookieError, SimpleCookie

WHOLE_NUMBER = re.compile("-?[0-9]+")
SERVICE = "/video_service.VideoService"  # the path of every call starts with it


class CookieJar:
    """The cookies of one session (name -> value) for calls of VideoService on one target.

    `secure`: calls are encrypted. Without it cookies with the attribute Secure are not kept. Cookies for
    other paths are never kept. Domain is ignored, because there is one host. Source: RFC 6265, sections 5.2
    to 5.4.
    """

    def __init__(self, secure: bool = False) -> None:
        self._secure = secure
        self._cookies: dict[str, tuple[str, float]] = {}

    def header(self) -> str | None:
        """Return the value of the `cookie` header to send now, or None if the jar holds no valid cookie."""
        if not self._cookies:
            return None
        now_s = time.monotonic()
        live = [f"{name}={value}" for name, (value, until_s) in self._cookies.items() if until_s > now_s]
        return "; ".join(live) or None

    def keep(self, metadata: Iterable[tuple[str, str | bytes]] | None) -> None:
        """Keep each cookie in a call's metadata. Ignores malformed ones, as browsers do."""
        for key, value in metadata or ():
            if key == "set-cookie" and isinstance(value, str):
                self._set(value)

    def _set(self, text: str) -> None:
        pair, *rest = text.split(";")
        try:
            morsels = SimpleCookie(pair)
        except CookieError:
            return
        # Attributes are parsed here: SimpleCookie drops a cookie that has an unknown attribute.
        named = (attribute.partition("=") for attribute in rest)
        attributes = {name.strip().lower(): value.strip() for name, _, value in named}
        for name, morsel in morsels.items():
            if (self._secure or "secure" not in attributes) and _applies(attributes.get("path", "")):
                # The coded value is sent back byte for byte: Envoy puts its base64 in quotes.
                self._cookies[name] = (morsel.coded_value, time.monotonic() + _lifetime_s(attributes))


def _applies(path: str) -> bool:
    """Return whether a cookie with this attribute Path is sent with the calls of SERVICE."""
    return not path.startswith("/") or f"{SERVICE}/".startswith(f"{path.rstrip('/')}/")


def _lifetime_s(attributes: Mapping[str, str]) -> float:
    """Return the seconds until the cookie expires; 0 or less deletes it. Max-Age goes before Expires."""
    if WHOLE_NUMBER.fullmatch(attributes.get("max-age", "")):
        return int(attributes["max-age"])
    try:
        return parsedate_to_datetime(attributes["expires"]).timestamp() - time.time()
    except (KeyError, ValueError, OverflowError):
        return float("inf")
