# ruff: noqa: INP001 - docs is no package
"""A log-log plot of the benchmark results as SVG: time over events, one line for each subject."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

Points = Sequence[tuple[float, float]]

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 760, 430, 64, 130, 16, 48
_COLOURS = ("#0b6e4f", "#c1666b", "#4281a4", "#d4a017", "#7a5195", "#8c6d46", "#555555", "#e07a5f", "#3d405b")


def plot(lines: Mapping[str, Points], across: str, up: str) -> str:
    """An SVG document.

    Args:
        lines: by name, points with positive coordinates.
        across: what the horizontal axis counts.
        up: what the vertical axis measures.
    """
    (west, east), (south, north) = (_decades([point[axis] for points in lines.values() for point in points]) for axis in (0, 1))

    def place(x: float, y: float) -> tuple[float, float]:
        return (round(_LEFT + (math.log10(x) - west) / (east - west) * (_WIDTH - _LEFT - _RIGHT), 1),
                round(_HEIGHT - _BOTTOM - (math.log10(y) - south) / (north - south) * (_HEIGHT - _TOP - _BOTTOM), 1))

    drawn = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" font-size="12">',
             f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>']
    for power in range(west, east + 1):
        x, _ = place(10.0**power, 10.0**south)
        drawn += [f'<line x1="{x}" x2="{x}" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}" stroke="#dddddd"/>',
                  f'<text x="{x}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle">{10**power:,}</text>']
    for power in range(south, north + 1):
        _, y = place(10.0**west, 10.0**power)
        drawn += [f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}" stroke="#dddddd"/>',
                  f'<text x="{_LEFT - 8}" y="{y + 4}" text-anchor="end">{10.0**power:,g}</text>']
    drawn += [f'<text x="{(_LEFT + _WIDTH - _RIGHT) / 2}" y="{_HEIGHT - 8}" text-anchor="middle">{across}</text>',
              (f'<text x="16" y="{(_TOP + _HEIGHT - _BOTTOM) / 2}" text-anchor="middle" '
              f'transform="rotate(-90 16 {(_TOP + _HEIGHT - _BOTTOM) / 2})">{up}</text>')]
    names = _apart({name: place(*max(points))[1] for name, points in lines.items()})
    for (name, points), colour in zip(lines.items(), _COLOURS, strict=False):
        places = [place(*point) for point in sorted(points)]
        drawn += [f'<polyline points="{" ".join(f"{x},{y}" for x, y in places)}" fill="none" stroke="{colour}" stroke-width="2"/>',
                  *(f'<circle cx="{x}" cy="{y}" r="3.5" fill="{colour}"/>' for x, y in places),
                  f'<text x="{_WIDTH - _RIGHT + 12}" y="{names[name] + 4}" fill="{colour}">{name}</text>',
                  (f'<line x1="{places[-1][0]}" y1="{places[-1][1]}" x2="{_WIDTH - _RIGHT + 8}" y2="{names[name]}" stroke="{colour}" '
                  'stroke-width="0.5" stroke-dasharray="2 3"/>')]
    return "\n".join([*drawn, "</svg>", ""])


def _decades(values: Sequence[float]) -> tuple[int, int]:
    """The powers of ten around some values."""
    low = math.floor(math.log10(min(values)))
    return low, max(low + 1, math.ceil(math.log10(max(values))))


def _apart(heights: Mapping[str, float]) -> dict[str, float]:
    """Heights moved down until a line of text fits between them."""
    moved: dict[str, float] = {}
    for name, height in sorted(heights.items(), key=lambda item: item[1]):
        moved[name] = max([height, *(other + 15 for other in moved.values())])
    return moved
