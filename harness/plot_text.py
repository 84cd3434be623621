"""Short texts beside markers, where they cover each other least."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

_MARKER_PX = 6.0
# Offset in points and alignment: right of the marker is best, then left, above, below.
_PLACES = (
    (8, 0, "left", "center"),
    (-8, 0, "right", "center"),
    (0, 8, "center", "bottom"),
    (0, -8, "center", "top"),
)


def write_beside(axes: Axes, points: Sequence[tuple[float, float]], texts: Sequence[str]) -> None:
    """Write each text beside its point (data coordinates), where it covers other texts and markers least."""
    figure = axes.get_figure(root=True)
    assert isinstance(figure, Figure)
    figure.draw_without_rendering()  # places are in pixels, and these are known once all is laid out
    taken = [_around(*axes.transData.transform(point)) for point in points]
    for point, text in zip(points, texts, strict=True):
        candidates = []
        for x, y, horizontal, vertical in _PLACES:
            note = axes.annotate(
                text, point, (x, y), textcoords="offset points", ha=horizontal, va=vertical, fontsize=8
            )
            box = note.get_window_extent()
            outside = not (axes.bbox.contains(box.x0, box.y0) and axes.bbox.contains(box.x1, box.y1))
            candidates.append((sum(_overlap(box, other) for other in taken) + 1e6 * outside, note, box))
        best = min(candidates, key=lambda candidate: candidate[0])
        for candidate in candidates:
            if candidate is not best:
                candidate[1].remove()
        taken.append(best[2])


def _around(x: float, y: float) -> Bbox:
    return Bbox.from_extents(x - _MARKER_PX, y - _MARKER_PX, x + _MARKER_PX, y + _MARKER_PX)


def _overlap(one: Bbox, other: Bbox) -> float:
    common = Bbox.intersection(one, other)
    return 0.0 if common is None else common.width * common.height
