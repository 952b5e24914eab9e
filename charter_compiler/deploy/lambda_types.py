"""What Lambda's Cloud API sends and takes (version 1.10), read strictly: a missing or ill-typed field is an error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from charter_compiler.diagnostics.errors import TargetProtocolError

T = TypeVar("T")
ACTIVE, BOOTING, TERMINATED = "active", "booting", "terminated"
BILLED = frozenset({"booting", "active", "unhealthy"})
"""Statuses of an instance that is paid for, as far as the API tells; a terminating one is on its way out."""


@dataclass(frozen=True, slots=True)
class InstanceType:
    """``regions`` are those with capacity now. Memory and storage in GiB. Prices are the API's, never a table's."""

    name: str
    description: str
    gpu: str
    gpus: int
    cents_per_hour: int
    vcpus: int
    memory_gib: int
    storage_gib: int
    regions: tuple[str, ...] = ()

    @property
    def usd_per_hour(self) -> float:
        return self.cents_per_hour / 100


@dataclass(frozen=True, slots=True)
class Instance:
    """``name`` and ``ip`` are ``None`` where there is none yet."""

    id: str
    name: str | None
    ip: str | None
    status: str
    region: str
    type: InstanceType
    ssh_keys: tuple[str, ...]
    file_systems: tuple[str, ...]

    @property
    def billed(self) -> bool:
        return self.status in BILLED


@dataclass(frozen=True, slots=True)
class FileSystem:
    """Persistent storage. It lies in one region and can be mounted by instances there alone."""

    name: str
    region: str


@dataclass(frozen=True, slots=True)
class LaunchRequest:
    """``name`` is at most 64 characters; the API wants exactly one SSH key. ``image_family`` ``None`` is the newest of
    Lambda's own images."""

    region: str
    type: str
    ssh_key: str
    name: str
    file_system: str | None = None
    image_family: str | None = None

    def to_json(self) -> dict[str, Any]:
        value: dict[str, Any] = {
            "region_name": self.region,
            "instance_type_name": self.type,
            "ssh_key_names": [self.ssh_key],
            "name": self.name,
        }
        if self.file_system is not None:
            value["file_system_names"] = [self.file_system]
        if self.image_family is not None:
            value["image"] = {"family": self.image_family}
        return value


def read_types(data: Any, place: str) -> tuple[InstanceType, ...]:
    """``GET /instance-types``, the cheapest first. Raises TargetProtocolError."""
    found = []
    for item in _get(data, dict, "data", place).values():
        regions = _get(item, list, "regions_with_capacity_available", place, key="regions_with_capacity_available")
        names = tuple(_get(region, str, "region", place, key="name") for region in regions)
        found.append(_type(_get(item, dict, "instance_type", place, key="instance_type"), place, names))
    return tuple(sorted(found, key=lambda one: (one.cents_per_hour, one.name)))


def read_instances(data: Any, place: str) -> tuple[Instance, ...]:
    """``GET /instances``, or ``terminated_instances``. Raises TargetProtocolError."""
    return tuple(read_instance(item, place) for item in _get(data, list, "data", place))


def read_instance(data: Any, place: str) -> Instance:
    """One of them. Raises TargetProtocolError."""
    region = _get(data, dict, "instance", place, key="region")
    return Instance(
        id=_get(data, str, "instance", place, key="id"),
        name=_optional(data, "name"),
        ip=_optional(data, "ip"),
        status=_get(data, str, "instance", place, key="status"),
        region=_get(region, str, "region", place, key="name"),
        type=_type(_get(data, dict, "instance", place, key="instance_type"), place, ()),
        ssh_keys=tuple(_get(data, list, "instance", place, key="ssh_key_names")),
        file_systems=tuple(_get(data, list, "instance", place, key="file_system_names")),
    )


def read_file_systems(data: Any, place: str) -> tuple[FileSystem, ...]:
    """``GET /file-systems``. Raises TargetProtocolError."""
    found = []
    for item in _get(data, list, "data", place):
        region = _get(item, dict, "file system", place, key="region")
        name = _get(item, str, "file system", place, key="name")
        found.append(FileSystem(name, _get(region, str, "region", place, key="name")))
    return tuple(found)


def _type(data: Mapping[str, Any], place: str, regions: tuple[str, ...]) -> InstanceType:
    specs = _get(data, dict, "instance_type", place, key="specs")
    return InstanceType(
        name=_get(data, str, "instance_type", place, key="name"),
        description=_get(data, str, "instance_type", place, key="description"),
        gpu=_get(data, str, "instance_type", place, key="gpu_description"),
        gpus=_get(specs, int, "specs", place, key="gpus"),
        cents_per_hour=_get(data, int, "instance_type", place, key="price_cents_per_hour"),
        vcpus=_get(specs, int, "specs", place, key="vcpus"),
        memory_gib=_get(specs, int, "specs", place, key="memory_gib"),
        storage_gib=_get(specs, int, "specs", place, key="storage_gib"),
        regions=regions,
    )


def _get(data: Any, kind: type[T], what: str, place: str, *, key: str | None = None) -> T:
    value = data if key is None else data.get(key) if isinstance(data, Mapping) else None
    if not isinstance(value, kind) or isinstance(value, bool):
        name = what if key is None else f"{what}.{key}"
        raise TargetProtocolError(f"{name} of the answer is not of type {kind.__name__}", place=place)
    return value


def _optional(data: Mapping[str, Any], key: str) -> str | None:
    value = data.get(key)
    return value if isinstance(value, str) and value else None
