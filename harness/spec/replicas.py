"""The part `replicas` of an experiment file: the servers that are balanced, alike or not.

What one replica can be told is declared in services/settings.py. Here are the keys about the fleet.
"""

from typing import Any

from pydantic import Field, create_model

from harness.fields import ReplicaName
from harness.policies.page import TOLD_DEFAULT
from harness.spec.arm import Arm
from services.settings import ReplicaSettings, SettingsModel, WorkSettings

# The settings that one replica may have of its own.
OVERRIDABLE = ("slots", "slow_factor", "slow_share", "fail_share", "fail_code", "orca")


def _overrides() -> type[SettingsModel]:
    """Return a model of the overridable settings: none is required, and none has a default of its own."""
    fields: dict[str, Any] = {}
    for name in OVERRIDABLE:
        field = WorkSettings.model_fields[name]
        meaning = TOLD_DEFAULT.sub("", str(field.description))
        fields[name] = (field.rebuild_annotation() | None, Field(default=None, description=meaning))
    return create_model("Overrides", __base__=SettingsModel, **fields)


class ReplicaOverrides(_overrides()):  # type: ignore[misc]  # derived, so mypy does not know its fields
    """In what one replica differs from the others; what is left out is as in all of them."""


class Count(SettingsModel):
    """How many there are: a base of its own, so that it stands first among the keys."""

    count: int = Field(ge=1, le=256, description="number of replicas")


class Replicas(WorkSettings, Count):
    """The servers that are balanced."""

    different: dict[ReplicaName, ReplicaOverrides] = Field(
        default={}, max_length=256, description="replicas unlike the others, by name (replica-0 is the first)"
    )

    @property
    def names(self) -> list[str]:
        """replica-0, replica-1, ..."""
        return [f"replica-{number}" for number in range(self.count)]

    def work_of(self, name: str) -> WorkSettings:
        """Return how one replica works on calls: as all do, but for its overrides."""
        return WorkSettings.model_validate(self._document(name))

    def settings_of(self, name: str, arm: Arm) -> ReplicaSettings:
        """Return all settings that one replica is started with in an arm.

        Raises pydantic's ValidationError where the arm's kind of server cannot do what is asked of it.
        """
        of_arm = {"server": arm.server, "max_connection_age_ms": arm.replica_connection_age_ms}
        return ReplicaSettings.model_validate(self._document(name) | of_arm)

    def _document(self, name: str) -> dict[str, Any]:
        own = self.different.get(name)
        overrides: dict[str, Any] = {} if own is None else own.model_dump(exclude_none=True)
        return self.model_dump(include=set(WorkSettings.model_fields)) | overrides
