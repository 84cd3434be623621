"""A cookie jar for gRPC: without one, a sticky balancer's cookie is never sent back.

gRPC has no cookies of its own: whoever makes the calls must keep what `set-cookie` brings, in initial
metadata or, in an error without a body, in trailing metadata, and add it to the next call's metadata.
"""

import re
import time
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie

WHOLE_NUMBER = re.compile("-?[0-9]+")


class CookieJar:
    """The cookies of one session, name -> value, for one target and path "/"."""

    def __init__(self) -> None:
        self._cookies: dict[str, tuple[str, float]] = {}

    def header(self) -> str | None:
        """The `cookie` header to send now, or None when the jar holds nothing that is still valid."""
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
        try:
            morsels = SimpleCookie(text)
        except CookieError:
            return
        for name, morsel in morsels.items():
            age = morsel["max-age"]
            until_s = time.monotonic() + int(age) if WHOLE_NUMBER.fullmatch(age) else float("inf")
            # The coded value goes back byte for byte: Envoy quotes its base64.
            self._cookies[name] = (morsel.coded_value, until_s)
