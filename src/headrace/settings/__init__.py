"""The configuration file: YAML 1.2, TOML or JSON → the same frozen settings; every error names its line."""

from headrace.settings.load import load, loads
from headrace.settings.origin import Origin, SettingsError, dotted
from headrace.settings.types import (
    BufferSettings,
    IndexConfig,
    LogSettings,
    MemorySettings,
    PipelineConfig,
    ServerSettings,
    Settings,
    SettingsFile,
    StepConfig,
    When,
)

__all__ = [
    "BufferSettings",
    "IndexConfig",
    "LogSettings",
    "MemorySettings",
    "Origin",
    "PipelineConfig",
    "ServerSettings",
    "Settings",
    "SettingsError",
    "SettingsFile",
    "StepConfig",
    "When",
    "dotted",
    "load",
    "loads",
]
