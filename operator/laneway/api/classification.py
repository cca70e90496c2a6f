"""How the model is chosen for runs that name none: a small model of the lane sorts them by complexity."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from laneway.api.base import Model

REASON_LIMIT = 200


class Complexity(StrEnum):
    """How hard the work is, in the classifier's own words."""

    SIMPLE = "simple"
    MEDIUM = "medium"
    COMPLEX = "complex"


class ClassificationSource(StrEnum):
    """Who says so."""

    CLASSIFIER = "Classifier"
    DEFAULT = "Default"


class Tiers(Model):
    """The model for each complexity."""

    simple: str = Field(min_length=1, max_length=256, description="Name of a model of this lane, for simple work.")
    medium: str = Field(
        min_length=1,
        max_length=256,
        description="Name of a model of this lane, for medium work, and for runs that could not be classified.",
    )
    complex: str = Field(min_length=1, max_length=256, description="Name of a model of this lane, for complex work.")

    def of(self, complexity: Complexity) -> str:
        """The model of a tier."""
        return {
            Complexity.SIMPLE: self.simple,
            Complexity.MEDIUM: self.medium,
            Complexity.COMPLEX: self.complex,
        }[complexity]


class Classifier(Model):
    """Chooses the model of runs that name none."""

    model: str = Field(
        min_length=1,
        max_length=256,
        description="Name of the model of this lane that is asked; it reads the run's title and the first 600 characters of its prompt.",
    )
    tiers: Tiers = Field(description="The model for each complexity.")


class Classification(Model):
    """The complexity of a run. It is worked out once, before the first attempt that needs it."""

    complexity: Complexity = Field(description="How hard the work is: each lane has its model for that.")
    model: str = Field(max_length=256, description="The model that the lane which was asked has for that.")
    reason: str = Field(max_length=REASON_LIMIT, description="Why, in the classifier's words; or why it did not say.")
    source: ClassificationSource = Field(
        description="Classifier: the lane's classifier said so. Default: it could not be asked, or did not say."
    )
