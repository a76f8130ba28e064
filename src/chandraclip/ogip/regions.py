"""Sky regions: shapes in sky pixels, from FITS region tables (ASC-FITS-REGION) and CIAO or ds9 text."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from chandraclip.ogip.facts import Described

# What a shape's numbers are: P a position (x, y), r a size, a an angle; those in brackets may be left out (0).
LAYOUTS = {
    "circle": "Pr",
    "annulus": "Prr",
    "ellipse": "Prr[a]",
    "elliptannulus": "Prrrr[a][a]",
    "box": "Prr[a]",
    "rotbox": "Prr[a]",
    "boxannulus": "Prrrr[a][a]",
    "diamond": "Prr[a]",
    "rectangle": "PP[a]",
    "sector": "Paa",
    "pie": "Prraa",
    "epanda": "Prrrraa[a]",
    "bpanda": "Prrrraa[a]",
    "field": "",
    "point": "P",
}
# Which of the sizes are an inner and an outer one.
_INNER_OUTER = {
    "annulus": ((2, 3),),
    "pie": ((2, 3),),
    **dict.fromkeys(("elliptannulus", "boxannulus", "epanda", "bpanda"), ((2, 4), (3, 5))),
}


@dataclass(frozen=True)
class Shape:
    """One shape.

    Attributes:
        name: a key of `LAYOUTS`, or ``"polygon"``.
        numbers: sky pixels and degrees (counterclockwise from +X), in CIAO's order: circle x, y, r; annulus x, y, r1,
            r2; ellipse x, y, semi-axis 1, semi-axis 2, angle; elliptannulus x, y, the inner ellipse's semi-axes, the
            outer one's, angle of the inner, of the outer (default: the inner's); box x, y, width, height, angle;
            boxannulus like elliptannulus with widths and heights; diamond x, y, its two diagonals, angle; rectangle
            x1, y1, x2, y2, angle about the middle; sector x, y, angle1, angle2; pie x, y, r1, r2, angle1, angle2;
            epanda and bpanda (ds9) a piece of an elliptannulus or boxannulus: its sizes, angle1 and angle2 from its own
            axis, angle; polygon x1, y1, x2, y2, ...
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
        elif self.name not in LAYOUTS:
            raise ValueError(f"unknown shape {self.name!r}")
        elif count not in (counts := allowed_counts(self.name)):
            raise ValueError(f"{self.name} needs {' or '.join(map(str, counts))} numbers, and has {count}")
        if not np.isfinite(self.numbers).all():
            raise ValueError(f"{self.name} has a number that is not finite")
        if any(value < 0 for kind, value in zip(self.kinds, self.numbers) if kind == "r"):
            raise ValueError(f"{self.name} has a negative size")
        if any(self.numbers[inner] > self.numbers[outer] for inner, outer in _INNER_OUTER.get(self.name, ())):
            raise ValueError(f"{self.name} is larger inside than outside")

    @property
    def kinds(self) -> str:
        """One letter a number: x and y of a position, r a size, a an angle."""
        if self.name == "polygon":
            return "xy" * (len(self.numbers) // 2)
        return re.sub(r"[][]", "", LAYOUTS[self.name]).replace("P", "xy")[: len(self.numbers)]

    def contains(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """(n,) bool: inside the outline (edge included), whether the shape includes or excludes."""
        return _TESTS[self.name](np.asarray(x, np.float64), np.asarray(y, np.float64), self.numbers)

    def __str__(self) -> str:
        """As CIAO writes it, e.g. ``"ellipse(4071.3,4250.1,3.2,2.1,30)"``; ``!`` before an excluded one."""
        return f"{'' if self.include else '!'}{self.name}({','.join(f'{number:.6g}' for number in self.numbers)})"

    @property
    def centre(self) -> tuple[float, float] | None:
        """Sky pixels; None for a field."""
        if self.name == "field":
            return None
        if self.name in ("polygon", "rectangle"):
            points = np.reshape(self.numbers[: len(self.numbers) // 2 * 2], (-1, 2))
            return float(points[:, 0].mean()), float(points[:, 1].mean())
        return self.numbers[0], self.numbers[1]

    def mapped(
        self, place: Callable[[float, float], tuple[float, float]], scale: float, axis: float, mirrored: bool = False
    ) -> Shape:
        """The shape in other coordinates.

        Args:
            place: a position here -> the same position there.
            scale: sizes there / sizes here.
            axis: the direction there of the axis that angles here count from, deg.
            mirrored: angles here run clockwise there.
        """
        sign = -1.0 if mirrored else 1.0
        positions = [i for i, kind in enumerate(self.kinds) if kind == "x"]
        numbers = [value * scale if kind == "r" else value for kind, value in zip(self.kinds, self.numbers)]
        for i in positions:
            numbers[i : i + 2] = place(*self.numbers[i : i + 2])
        if self.name == "rectangle":  # its sides follow the axes here
            (x1, y1), (x2, y2) = numbers[:2], numbers[2:4]
            along, across = _rotated(np.asarray(x2), np.asarray(y2), (x1, y1), axis)
            angle = axis + sign * _angle(self.numbers)
            size = (abs(float(along)), abs(float(across)))
            return Shape("box", ((x1 + x2) / 2, (y1 + y2) / 2, *size, angle), self.include)
        between = self.name in ("sector", "pie", "epanda", "bpanda")
        first = self.kinds.find("a")
        for i, kind in enumerate(self.kinds):
            if kind == "a":
                from_own_axis = "panda" in self.name and i < first + 2
                numbers[i] = (0.0 if from_own_axis else axis) + sign * numbers[i]
        if "a" not in self.kinds and "a" in LAYOUTS.get(self.name, ""):
            numbers.append(axis)
        if between and mirrored:
            numbers[first], numbers[first + 1] = numbers[first + 1], numbers[first]
        if "panda" in self.name and len(numbers) == 8:
            numbers.append(axis)
        return Shape(self.name, tuple(map(float, numbers)), self.include)


def allowed_counts(name: str) -> tuple[int, ...]:
    """How many numbers a shape of `LAYOUTS` may have."""
    layout = LAYOUTS[name]
    optional = layout.count("[")
    most = len(re.sub(r"[][]", "", layout).replace("P", "xy"))
    return tuple(range(most - optional, most + 1))


@dataclass(frozen=True, eq=False, repr=False)
class Mask:
    """Sky pixels in or out, as an image (CIAO's pixel masks; CSC 2: chip edges and readout streaks).

    Attributes:
        image: (ny, nx) bool, in or out. What lies beyond the image is out.
        corner: sky pixels of the image's lower left corner.
        step: sky pixels an image pixel in x and y.
        include: False for an excluded mask.
    """

    image: np.ndarray
    corner: tuple[float, float]
    step: tuple[float, float]
    include: bool = True
    centre: None = None

    def __repr__(self) -> str:
        rows, columns = self.image.shape
        return f"{'' if self.include else '!'}mask({columns}x{rows})"

    def contains(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """(n,) bool: on a pixel that is in."""
        column, row = (
            np.floor((np.asarray(values, np.float64) - corner) / step)
            for values, corner, step in zip((x, y), self.corner, self.step)
        )
        rows, columns = self.image.shape
        on = (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
        inside = np.zeros(np.shape(x), dtype=bool)
        inside[on] = self.image[row[on].astype(np.int64), column[on].astype(np.int64)]
        return inside


@dataclass(frozen=True, repr=False)
class Region(Described):
    """A union of components, each the intersection of its shapes.

    Attributes:
        components: for each component its shapes; an excluded shape takes its inside away from its component.
        ra, dec: deg, ICRS, of the first shape's centre, where the file gives sky coordinates; else None.
        source: where it was read, for messages.
        notes: what was assumed or left out, one sentence each.
    """

    components: tuple[tuple[Shape | Mask, ...], ...]
    ra: float | None = None
    dec: float | None = None
    source: str = ""
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        """As CIAO writes it, in sky pixels and degrees."""
        return "+".join("&".join(map(str, shapes)) for shapes in self.components)

    @property
    def summary(self) -> str:
        """The shapes, long lists cut off."""
        text = str(self)
        return text if len(text) <= 120 else f"{text[:110]}... ({sum(map(len, self.components))} shapes)"

    @property
    def title(self) -> str:
        return f"Region {self.source}".rstrip()

    @property
    def facts(self) -> dict[str, str]:
        facts = {"shapes": f"{self.summary} (sky pixels)"}
        if self.ra is not None and self.dec is not None:
            facts["centre"] = f"RA {self.ra:.5f}, Dec {self.dec:.5f} deg"
        return facts

    def contains(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Which points lie in the region.

        Args:
            x, y: (n,) sky pixels.

        Returns:
            (n,) bool; False where a point is not finite (a photon without a position), also for "all but a circle".
        """
        inside = np.zeros(np.shape(x), dtype=bool)
        for shapes in self.components:
            part = np.ones(np.shape(x), dtype=bool)
            for shape in shapes:
                hit = shape.contains(x, y)
                part &= hit if shape.include else ~hit
            inside |= part
        return inside & np.isfinite(x) & np.isfinite(y)

    @property
    def centre(self) -> tuple[float, float] | None:
        """Sky pixels of the first included shape's centre."""
        for shapes in self.components:
            for shape in shapes:
                if shape.include and shape.centre is not None:
                    return shape.centre
        return None


def united(shapes: Iterable[Shape | Mask], source: str = "") -> Region:
    """Included shapes added up, less every excluded one (ds9's rule, whatever the order)."""
    shapes = list(shapes)
    excluded = tuple(shape for shape in shapes if not shape.include)
    included: list[Shape | Mask] = [shape for shape in shapes if shape.include] or [Shape("field", ())]
    return Region(tuple((shape, *excluded) for shape in included), source=source)


def _rotated(x: np.ndarray, y: np.ndarray, centre: Sequence[float], degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """Offsets from a centre along axes turned counterclockwise."""
    angle = np.radians(degrees)
    dx, dy = x - centre[0], y - centre[1]
    return dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)


def _angle(numbers: Sequence[float], index: int = 4) -> float:
    return numbers[index] if len(numbers) > index else 0.0


def _circle(x: np.ndarray, y: np.ndarray, n: Sequence[float]) -> np.ndarray:
    return np.hypot(x - n[0], y - n[1]) <= n[2]


def _annulus(x: np.ndarray, y: np.ndarray, n: Sequence[float]) -> np.ndarray:
    radius = np.hypot(x - n[0], y - n[1])
    return (radius >= n[2]) & (radius <= n[3])


def _ellipse_radius(x: np.ndarray, y: np.ndarray, n: Sequence[float]) -> np.ndarray:
    """Squared distance from the centre in units of the ellipse; infinite where it has no size."""
    along, across = _rotated(x, y, n, _angle(n))
    if n[2] <= 0 or n[3] <= 0:
        return np.full(np.shape(x), np.inf)
    return (along / n[2]) ** 2 + (across / n[3]) ** 2


def _ellipse(x: np.ndarray, y: np.ndarray, n: Sequence[float]) -> np.ndarray:
    return _ellipse_radius(x, y, n) <= 1


def _between(n: Sequence[float]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Inner and outer shape of an elliptannulus or boxannulus."""
    inner = _angle(n, 6)
    return (*n[:4], inner), (*n[:2], *n[4:6], n[7] if len(n) > 7 else inner)


def _elliptannulus(x: np.ndarray, y: np.ndarray, n: Sequence[float]) -> np.ndarray:
    inner, outer = _between(n)
    return _ellipse(x, y, outer) & (_ellipse_radius(x, y, inner) >= 1)


def _box_distance(x: np.ndarray, y: np.ndarray, n: Sequence[float]) -> np.ndarray:
    """How far beyond the nearest side; negative inside."""
    along, across = _rotated(x, y, n, _angle(n))
    return np.maximum(np.abs(along) - n[2] / 2, np.abs(across) - n[3] / 2)


def _box(x: np.ndarray, y: np.ndarray, n: Sequence[float]) -> np.ndarray:
    return _box_distance(x, y, n) <= 0


def _boxannulus(x: np.ndarray, y: np.ndarray, n: Sequence[float]) -> np.ndarray:
    inner, outer = _between(n)
    return _box(x, y, outer) & (_box_distance(x, y, inner) >= 0)


def _diamond(x: np.ndarray, y: np.ndarray, n: Sequence[float]) -> np.ndarray:
    along, across = _rotated(x, y, n, _angle(n))
    if n[2] <= 0 or n[3] <= 0:
        return np.zeros(np.shape(x), dtype=bool)
    return np.abs(along) / (n[2] / 2) + np.abs(across) / (n[3] / 2) <= 1


def _rectangle(x: np.ndarray, y: np.ndarray, n: Sequence[float]) -> np.ndarray:
    centre = ((n[0] + n[2]) / 2, (n[1] + n[3]) / 2)
    return _box(x, y, (*centre, abs(n[2] - n[0]), abs(n[3] - n[1]), _angle(n)))


def _sector(x: np.ndarray, y: np.ndarray, n: Sequence[float]) -> np.ndarray:
    """From angle 1 counterclockwise to angle 2; a span of 360 or more is the whole plane. The tip is inside."""
    if abs(n[3] - n[2]) >= 360:
        return np.ones(np.shape(x), dtype=bool)
    dx, dy = x - n[0], y - n[1]
    angle = np.degrees(np.arctan2(dy, dx))
    return ((angle - n[2]) % 360 <= (n[3] - n[2]) % 360) | ((dx == 0) & (dy == 0))


def _pie(x: np.ndarray, y: np.ndarray, n: Sequence[float]) -> np.ndarray:
    return _annulus(x, y, n[:4]) & _sector(x, y, (*n[:2], *n[4:6]))


def _panda(
    whole: Callable[[np.ndarray, np.ndarray, Sequence[float]], np.ndarray],
) -> Callable[[np.ndarray, np.ndarray, Sequence[float]], np.ndarray]:
    def inside(x: np.ndarray, y: np.ndarray, n: Sequence[float]) -> np.ndarray:
        angle = _angle(n, 8)
        return whole(x, y, (*n[:6], angle)) & _sector(x, y, (*n[:2], n[6] + angle, n[7] + angle))

    return inside


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
    "elliptannulus": _elliptannulus,
    "box": _box,
    "rotbox": _box,
    "boxannulus": _boxannulus,
    "diamond": _diamond,
    "rectangle": _rectangle,
    "sector": _sector,
    "pie": _pie,
    "epanda": _panda(_elliptannulus),
    "bpanda": _panda(_boxannulus),
    "polygon": _polygon,
    "field": lambda x, y, n: np.ones(np.shape(x), dtype=bool),
    "point": lambda x, y, n: np.zeros(np.shape(x), dtype=bool),
}
