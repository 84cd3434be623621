"""The key `replicas` of an experiment file: the servers, with equal or different settings.

services/settings.py declares the settings of one replica. This module adds the keys about all replicas.
"""

from typing import Any

from pydantic import Field, create_model

from harness.fields import ReplicaName
from harness.policies.page import STATED_DEFAULT
from harness.spec.arm import Arm
from services.settings import ReplicaSettings, SettingsModel, WorkSettings

# The settings that one replica may have of its own.
OVERRIDABLE = ("slots", "slow_factor", "slow_share", "fail_share", "fail_code", "orca")


def _overrides() -> type[SettingsModel]:
    """Return a model of the overridable settings: none is required, and none has a default of its own."""
    fields: dict[str, Any] = {}
    for name in OVERRIDABLE:
        field = WorkSettings.model_fields[name]
        meaning = STATED_DEFAULT.sub("", str(field.description))
        fields[name] = (field.rebuild_annotation() | None, Field(default=None, description=meaning))
    return create_model("Overrides", __base__=SettingsModel, **fields)


class ReplicaOverrides(_overrides()):  # type: ignore[misc]  # derived, so mypy does not know its fields
    """The settings in which one replica differs from the others."""


class Count(SettingsModel):
    """The number of replicas. A base class of its own makes it the first key in the schema and the docs."""

    count: int = Field(ge=1, le=256, description="number of replicas")


class Replicas(WorkSettings, Count):
    """The servers."""

    different: dict[ReplicaName, ReplicaOverrides] = Field(
        default={},
        max_length=256,
        description="settings of single replicas, by name (replica-0 is the first)",
    )

    @property
    def names(self) -> list[str]:
        """replica-0, replica-1, ..."""
        return [f"replica-{number}" for number in range(self.count)]

    def work_of(self, name: str) -> WorkSettings:
        """Return the work settings of one replica: those of all replicas, with its overrides."""
        return WorkSettings.model_validate(self._document(name))

    def settings_of(self, name: str, arm: Arm) -> ReplicaSettings:
        """Return all settings that one replica is started with in an arm.

        Raises pydantic's ValidationError for a setting that the arm's kind of server does not support.
        """
        of_arm = {"server": arm.server, "max_connection_age_ms": arm.replica_connection_age_ms}
        return ReplicaSettings.model_validate(self._document(name) | of_arm)

    def _document(self, name: str) -> dict[str, Any]:
        own = self.different.get(name)
        overrides: dict[str, Any] = {} if own is None else own.model_dump(exclude_none=True)
        return self.model_dump(include=set(WorkSettings.model_fields)) | overrides
