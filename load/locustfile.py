"""An ordinary Locust file for the lab's video service: copy it, and write your own tasks.

    locust -f load/locustfile.py --host 127.0.0.1:8080                              # web page: localhost:8089
    locust -f load/locustfile.py --host 127.0.0.1:8080 --headless -u 12 -r 12 -t 10s
    locust -f load/locustfile.py --host 127.0.0.1:8080 --processes 2                # two workers and a master

It calls whatever speaks services/video_service.proto: a lab that `up` or Compose holds open, or servers of
yours. Locust's table has one row for each method and replica. The lab itself records nothing of it.
"""

from locust import between, task

from load.lab_user import LabUser, pb

SAMPLES = 10  # videos that every replica has: sample-0, sample-1, ...


class VideoUser(LabUser):
    """A user who watches videos, and sometimes adds one."""

    wait_time = between(0.5, 1.5)

    @task(4)
    def watch(self) -> None:
        """Get some videos on one bidirectional stream. One replica answers all of them."""
        for _ in self.stub.GetVideo(pb.GetVideoRequest(id=f"sample-{number}") for number in range(3)):
            pass

    @task(2)
    def browse(self) -> None:
        """Read a list of videos: a server stream."""
        for _ in self.stub.ListVideos(pb.ListVideosRequest(limit=SAMPLES)):
            pass

    @task(1)
    def add(self) -> None:
        """Add a video: a unary call."""
        video = pb.Video(
            id=self.new_id(), title="Mine", author="Me", url="https://example.com/v.mp4", duration=1
        )
        self.stub.AddVideo(video)
