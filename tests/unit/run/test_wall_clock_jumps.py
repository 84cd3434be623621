"""How far the wall clock left its course while a cell ran."""

import time

from harness.run.epoch import read_epoch
from harness.run.wall_clock import WallClock

HOUR_NS = 3_600_000_000_000


def test_a_wall_clock_that_nobody_moves_stays_on_its_course():
    clock = WallClock(read_epoch())
    time.sleep(0.01)
    clock.look()
    assert clock.moved_ns < 1_000_000


def test_a_jump_stays_known_after_the_clock_is_put_right():
    start = read_epoch()
    jumped = WallClock(start._replace(unix_ns=start.unix_ns - HOUR_NS))  # as if it had jumped since
    jumped.look()
    assert abs(jumped.moved_ns - HOUR_NS) < 1_000_000
    jumped._start = start
    jumped.look()
    assert abs(jumped.moved_ns - HOUR_NS) < 1_000_000
