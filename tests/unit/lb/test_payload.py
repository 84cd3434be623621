"""The text of an added video has the requested length, and each field fits the catalogue."""

import zlib

import pytest

from lb.calls import video_texts
from lb.settings import MAX_PAYLOAD_BYTES


@pytest.mark.parametrize("payload_bytes", [1, 999, 1000, 1001, 2000, MAX_PAYLOAD_BYTES])
def test_the_text_has_the_given_length_and_each_field_fits(payload_bytes: int) -> None:
    texts = video_texts(payload_bytes)
    assert len("".join(texts.values()).encode()) == payload_bytes
    assert all(len(text) <= 1000 for text in texts.values())
    assert texts["title"]


def test_a_few_words_without_a_payload() -> None:
    texts = video_texts(0)
    assert all(texts.values())
    assert len("".join(texts.values())) < 50


def test_the_text_can_be_compressed() -> None:
    text = "".join(video_texts(MAX_PAYLOAD_BYTES).values())
    assert len(zlib.compress(text.encode())) < len(text) / 10


@pytest.mark.parametrize("payload_bytes", [-1, MAX_PAYLOAD_BYTES + 1])
def test_a_payload_that_no_video_can_hold_is_refused(payload_bytes: int) -> None:
    with pytest.raises(ValueError, match=f"payload_bytes is {payload_bytes}, expected 0 to 2500"):
        video_texts(payload_bytes)
