"""Reads the certificates of authorities (CA certificates) that clients trust in TLS."""

import re
import ssl
from pathlib import Path

MAX_BYTES = 10_000_000
# Files may hold comments in any encoding between the certificates, and a private key.
CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----")


def read_ca_certificates(path: Path) -> str:
    """Return the certificates in a file as PEM text, without anything else that the file holds.

    Raises ValueError with a message for the user if the file cannot be read or holds no certificate.
    """
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES).decode("ascii", errors="replace")
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from error
    certificates = "".join(f"{certificate}\n" for certificate in CERTIFICATE.findall(text))
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=certificates)
    except (ssl.SSLError, ValueError) as error:
        raise ValueError(f"{path}: expected a PEM file with an authority's certificate") from error
    return certificates
