"""Lines of Envoy's access log, as Envoy writes them."""

from harness.record.access_log import PROXY_COLUMNS, SEPARATOR


def access_line(**values: object) -> str:
    """A line with these values of PROXY_COLUMNS; the others are missing."""
    assert values.keys() <= PROXY_COLUMNS.keys()
    texts = ("" if values.get(name) is None else str(values[name]) for name in PROXY_COLUMNS)
    return SEPARATOR.join(texts) + "\n"
