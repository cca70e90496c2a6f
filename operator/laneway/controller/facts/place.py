"""Where a waiting run stands in its lane's queue, in words for people. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """Where a waiting run stands in its lane's queue, as it is shown."""

    position: int
    """1 is next; the last place of a range where ``first`` is less."""
    used: int
    slots: int
    first: int | None = None
    on_trial: str = ""
    """The model whose cooldown is over, and that another run tries first."""

    @property
    def exact(self) -> bool:
        """Whether it is one place, and no range."""
        return self.first is None or self.first == self.position

    @property
    def words(self) -> str:
        """Slots and place for people."""
        if self.on_trial:
            return f"position {self.position}; {self.on_trial} was cooling, and another run tries it first"
        if self.exact:
            return f"{self.used} of {self.slots} slots used, position {self.position}"
        used = f"all {self.slots}" if self.used >= self.slots else f"{self.used} of {self.slots}"
        return f"{used} slots used, position {self.first} to {self.position}"
