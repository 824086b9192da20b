"""What can be chosen about the grid and what stands on it."""

import dataclasses
from typing import Annotated

from envs.inputs import bounds


@dataclasses.dataclass(frozen=True)
class CaseOptions(bounds.Options, prefix="env."):
    """Options of the case. The text beside each field is its help."""

    case: Annotated[str, "grid: a shipped case (case14) or the path of a MATPOWER .m file"] = (
        "case14"
    )
    fleet: Annotated[
        str, "assets on the grid: auto (the case's own), plain, a shipped fleet, or a .json file"
    ] = "auto"
