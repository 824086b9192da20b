"""Who watches a loop: is told how it goes on, and says when it is to end."""

from collections.abc import Mapping
from typing import Protocol


class Monitor(Protocol):
    """Watches the loop of an actor, the evaluator or the learner; a node's heartbeat is one."""

    def stopping(self) -> bool:
        """Returns whether the loop is to stop."""

    def progress(self, doing: str, limited: bool = True) -> None:
        """Is told what the loop does next, and whether it may be taken for hung if that lasts."""

    def report(self, figures: Mapping[str, float]) -> None:
        """Is told the loop's newest figures."""
