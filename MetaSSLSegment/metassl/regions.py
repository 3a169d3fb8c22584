"""The four regions as people see them: numbers in labelmaps, names and colours."""

from typing import NamedTuple


class Region(NamedTuple):
    """One region of the quadripartition.

    Attributes:
        value: voxel value in region labelmaps; 0 is outside.
        code: short name.
        name: full name.
        colour: RGB, 0-255.
    """

    value: int
    code: str
    name: str
    colour: tuple[int, int, int]


REGIONS = (
    Region(1, "UC", "unanimous confident", (64, 160, 64)),
    Region(2, "US", "unanimous suspicious", (240, 200, 60)),
    Region(3, "DC", "discrepant confident", (210, 50, 50)),
    Region(4, "DS", "discrepant suspicious", (150, 90, 200)),
)
