"""Sky regions: shapes in sky pixels, from FITS region tables (ASC-FITS-REGION) and CIAO or ds9 text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

# Numbers a shape takes: (name, how many, angles among them). Radii are half sizes except box's full sizes.
SHAPE_SIZES = {
    "circle": (3,),
    "annulus": (4,),
    "ellipse": (4, 5),
    "box": (4, 5),
    "rotbox": (5,),
    "rectangle": (4, 5),
    "sector": (4,),
    "field": (0,),
    "point": (2,),
}


@dataclass(frozen=True)
class Shape:
    """One shape.

    Attributes:
        name: a key of `SHAPE_SIZES`, or ``"polygon"``.
        numbers: sky pixels and degrees (counterclockwise from +X), in CIAO's order: circle x, y, r; annulus x, y, r1,
            r2; ellipse x, y, semi-axis 1, semi-axis 2, angle; box and rotbox x, y, width, height, angle; rectangle
            x1, y1, x2, y2, angle; sector x, y, angle1, angle2; polygon x1, y1, x2, y2, ...
        include: False for an excluded shape.
    """

    name: str
    numbers: tuple[float, ...]
    include: bool = True

    def __post_init__(self) -> None:
        count = len(self.numbers)
        if self.name == "polygon":
            if count < 6 or count % 2:
                raise ValueError(f"a polygon needs three points or more, and has {count} numbers")
        elif self.name not in SHAPE_SIZES:
            raise ValueError(f"unknown shape {self.name!r}")
        elif count not in SHAPE_SIZES[self.name]:
            needed = " or ".join(map(str, SHAPE_SIZES[self.name]))
            raise ValueError(f"{self.name} needs {needed} numbers, and has {count}")
        if not np.isfinite(self.numbers).all():
            raise ValueError(f"{self.name} has a number that is not finite")

    def contains(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """(n,) bool: inside the outline (edge included), whether the shape includes or excludes."""
        return _TESTS[self.name](np.asarray(x, np.float64), np.asarray(y, np.float64), self.numbers)

    @property
    def centre(self) -> tuple[float, float] | None:
        """Sky pixels; None for a field."""
        if self.name == "field":
            return None
        if self.name in ("polygon", "rectangle"):
            points = np.reshape(self.numbers[: len(self.numbers) // 2 * 2], (-1, 2))
            return float(points[:, 0].mean()), float(points[:, 1].mean())
        return self.numbers[0], self.numbers[1]


@dataclass(frozen=True)
class Region:
    """A union of components, each the intersection of its shapes.

    Attributes:
        components: for each component its shapes; an excluded shape takes its inside away from its component.
        ra, dec: deg of the first shape's centre, where the file gives sky coordinates; else None.
        source: where it was read, for messages.
    """

    components: tuple[tuple[Shape, ...], ...]
    ra: float | None = None
    dec: float | None = None
    source: str = ""

    def contains(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Which points lie in the region.

        Args:
            x, y: (n,) sky pixels.

        Returns:
            (n,) bool.
        """
        inside = np.zeros(np.shape(x), dtype=bool)
        for shapes in self.components:
            part = np.ones(np.shape(x), dtype=bool)
            for shape in shapes:
                hit = shape.contains(x, y)
                part &= hit if shape.include else ~hit
            inside |= part
        return inside

    @property
    def centre(self) -> tuple[float, float] | None:
        """Sky pixels of the first included shape's centre."""
        for shapes in self.components:
            for shape in shapes:
                if shape.include and shape.centre is not None:
                    return shape.centre
        return None


def united(shapes: Iterable[Shape], source: str = "") -> Region:
    """Included shapes added up, less every excluded one (ds9's rule, whatever the order)."""
    shapes = list(shapes)
    excluded = tuple(shape for shape in shapes if not shape.include)
    included = [shape for shape in shapes if shape.include] or [Shape("field", ())]
    return Region(tuple((shape, *excluded) for shape in included), source=source)


def _rotated(x: np.ndarray, y: np.ndarray, centre: Sequence[float], degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """Offsets from a centre along axes turned counterclockwise."""
    angle = np.radians(degrees)
    dx, dy = x - centre[0], y - centre[1]
    return dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)


def _angle(numbers: Sequence[float]) -> float:
    return numbers[4] if len(numbers) > 4 else 0.0


def _circle(x: np.ndarray, y: np.ndarray, n: Sequence[float]) -> np.ndarray:
    return np.hypot(x - n[0], y - n[1]) <= n[2]


def _annulus(x: np.ndarray, y: np.ndarray, n: Sequence[float]) -> np.ndarray:
    radius = np.hypot(x - n[0], y - n[1])
    return (radius >= n[2]) & (radius <= n[3])


def _ellipse(x: np.ndarray, y: np.ndarray, n: Sequence[float]) -> np.ndarray:
    along, across = _rotated(x, y, n, _angle(n))
    if n[2] <= 0 or n[3] <= 0:
        return np.zeros(np.shape(x), dtype=bool)
    return (along / n[2]) ** 2 + (across / n[3]) ** 2 <= 1


def _box(x: np.ndarray, y: np.ndarray, n: Sequence[float]) -> np.ndarray:
    along, across = _rotated(x, y, n, _angle(n))
    return (np.abs(along) <= n[2] / 2) & (np.abs(across) <= n[3] / 2)


def _rectangle(x: np.ndarray, y: np.ndarray, n: Sequence[float]) -> np.ndarray:
    centre = ((n[0] + n[2]) / 2, (n[1] + n[3]) / 2)
    return _box(x, y, (*centre, abs(n[2] - n[0]), abs(n[3] - n[1]), _angle(n)))


def _sector(x: np.ndarray, y: np.ndarray, n: Sequence[float]) -> np.ndarray:
    angle = np.degrees(np.arctan2(y - n[1], x - n[0]))
    return (angle - n[2]) % 360 <= (n[3] - n[2]) % 360


def _polygon(x: np.ndarray, y: np.ndarray, n: Sequence[float]) -> np.ndarray:
    """Even-odd rule: the number of edges that a ray to +X crosses."""
    points = np.reshape(n, (-1, 2))
    inside = np.zeros(np.shape(x), dtype=bool)
    for (x1, y1), (x2, y2) in zip(points, np.roll(points, -1, axis=0)):  # over edges, not over photons
        if y1 != y2:
            crosses = (y1 > y) != (y2 > y)
            inside ^= crosses & (x < x1 + (y - y1) * (x2 - x1) / (y2 - y1))
    return inside


_TESTS: dict[str, Callable[[np.ndarray, np.ndarray, Sequence[float]], np.ndarray]] = {
    "circle": _circle,
    "annulus": _annulus,
    "ellipse": _ellipse,
    "box": _box,
    "rotbox": _box,
    "rectangle": _rectangle,
    "sector": _sector,
    "polygon": _polygon,
    "field": lambda x, y, n: np.ones(np.shape(x), dtype=bool),
    "point": lambda x, y, n: np.zeros(np.shape(x), dtype=bool),
}
