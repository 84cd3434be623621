"""Markdown of the lab becomes HTML that can stand alone."""

from harness.site.markdown import to_html


def test_html_in_the_text_is_shown_and_not_obeyed() -> None:
    html = to_html("<script>alert(1)</script> and <b>bold</b>\n\n<div onclick='x'>")
    assert "<script" not in html
    assert "<b>" not in html
    assert "<div" not in html
    assert "&lt;script&gt;" in html


def test_a_link_to_a_file_of_the_lab_becomes_text() -> None:
    html = to_html("Something changes: [events.md](events.md). See [`x`](../y.md)!")
    assert html == "<p>Something changes: events.md. See <code>x</code>!</p>\n"


def test_links_to_other_pages_of_the_site_know_the_way() -> None:
    assert 'href="../theory/zipf.html"' in to_html("[Zipf](site:theory/zipf.html)", "../")
    assert 'href="theory/zipf.html"' in to_html("[Zipf](site:theory/zipf.html)")
    assert 'href="https://example.org/"' in to_html("[there](https://example.org/)")


def test_pictures_are_left_out() -> None:
    assert to_html("before ![a plot](images/plot.png) after") == "<p>before  after</p>\n"


def test_other_schemes_lead_nowhere() -> None:
    html = to_html("[a](javascript:alert) [b](data:text/html,x) [c](http://plain.example/)")
    assert "href" not in html
