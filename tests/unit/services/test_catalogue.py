"""The catalogue: limited size, newest first, permanent samples, errors with the right status."""

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.catalogue import SAMPLES, TEXT_LIMIT, Catalogue
from services.errors import RpcStatusError
from services.video_service_pb2 import Video

SAMPLE_IDS = [f"sample-{number}" for number in range(SAMPLES)]


def video(video_id: str) -> Video:
    return Video(
        id=video_id, title="Sample Video", author="John Doe", url="https://example.com", duration=120
    )


@settings(deadline=None)
@given(size=st.integers(1, 20), ids=st.lists(st.text("abcdefgh", min_size=1, max_size=2), max_size=60))
def test_it_never_outgrows_its_size_and_forgets_the_oldest_first(size: int, ids: list[str]) -> None:
    catalogue = Catalogue(size, "replica-7")
    kept: list[str] = []
    for video_id in ids:
        if video_id in kept:
            with pytest.raises(RpcStatusError):
                catalogue.add(video(video_id))
        else:
            catalogue.add(video(video_id))
            kept = [*kept, video_id][-size:]
        assert [each.id for each in catalogue.newest(0)] == [*reversed(kept), *SAMPLE_IDS]
        assert len(catalogue) == len(kept) + SAMPLES


def test_the_limit_counts_from_the_newest() -> None:
    catalogue = Catalogue(5, "replica-7")
    for video_id in "abc":
        catalogue.add(video(video_id))
    assert [each.id for each in catalogue.newest(2)] == ["c", "b"]
    assert [each.id for each in catalogue.newest(4)] == ["c", "b", "a", "sample-0"]


def test_the_ids_of_the_examples_are_free() -> None:
    catalogue = Catalogue(5, "replica-7")
    assert catalogue.find("1") is None
    assert catalogue.find("2") is None
    assert catalogue.find("sample-0") is not None


@pytest.mark.parametrize("video_id", ["mine", "sample-3"])
def test_an_id_that_is_in_use_is_refused(video_id: str) -> None:
    catalogue = Catalogue(5, "replica-7")
    catalogue.add(video("mine"))
    with pytest.raises(RpcStatusError, match=f"video '{video_id}' exists already") as refused:
        catalogue.add(video(video_id))
    assert refused.value.code is grpc.StatusCode.ALREADY_EXISTS


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (Video(title="t"), "video: id is empty, expected some text"),
        (Video(id="1"), "video '1': title is empty, expected some text"),
        (Video(id="1", title="t", duration=-5), "video '1': duration is -5, expected 0 or more seconds"),
        (
            Video(id="1", title="t", url="u" * (TEXT_LIMIT + 1)),
            f"video '1': url has {TEXT_LIMIT + 1} characters, expected at most {TEXT_LIMIT}",
        ),
    ],
)
def test_a_bad_video_is_refused_and_not_kept(bad: Video, message: str) -> None:
    catalogue = Catalogue(5, "replica-7")
    with pytest.raises(RpcStatusError) as refused:
        catalogue.add(bad)
    assert refused.value.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refused.value.message == message
    assert len(catalogue) == SAMPLES


def test_every_video_names_the_replica_whatever_the_caller_wrote_there() -> None:
    catalogue = Catalogue(5, "replica-7")
    catalogue.add(Video(id="mine", title="t", served_by="somebody"))
    assert {each.served_by for each in catalogue.newest(0)} == {"replica-7"}
    found = catalogue.find("mine")
    assert found is not None
    assert found.served_by == "replica-7"
