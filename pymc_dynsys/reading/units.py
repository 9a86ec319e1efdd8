"""Units of times and data that are numbers: words for axes, by which nothing is scaled."""

from typing import NamedTuple


class Units(NamedTuple):
    """Units of a trajectory; empty where nobody said one."""

    time: str = ""
    data: str = ""

    def of_time(self) -> dict[str, str]:
        """Attributes of times that are numbers."""
        return {"unit": self.time} if self.time else {}

    def of_data(self) -> dict[str, str]:
        """Attributes of data."""
        return {"unit": self.data} if self.data else {}


NO_UNITS = Units()


def unit_of(value: object) -> str:
    """The unit that a labelled array, or a data variable made of one, says it has."""
    attrs = getattr(value, "attrs", None)
    if attrs is None:
        attrs = getattr(getattr(value, "tag", None), "attrs", {})
    found = attrs.get("units", attrs.get("unit", ""))
    return found if isinstance(found, str) else ""
