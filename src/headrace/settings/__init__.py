"""The configuration file: YAML 1.2, TOML or JSON → the same frozen settings; every error names its line."""

from headrace.settings.load import load, loads
from headrace.settings.origin import Origin, SettingsError, dotted
from headrace.settings.server import (
    CorsSettings,
    KeySettings,
    Scope,
    SearchLimits,
    ServerSettings,
    TlsSettings,
)
from headrace.settings.types import (
    BufferSettings,
    IndexConfig,
    LogSettings,
    MemorySettings,
    PipelineConfig,
    Settings,
    SettingsFile,
    StepConfig,
    When,
)

__all__ = [
    "BufferSettings",
    "CorsSettings",
    "IndexConfig",
    "KeySettings",
    "LogSettings",
    "MemorySettings",
    "Origin",
    "PipelineConfig",
    "Scope",
    "SearchLimits",
    "ServerSettings",
    "Settings",
    "SettingsError",
    "SettingsFile",
    "StepConfig",
    "TlsSettings",
    "When",
    "dotted",
    "load",
    "loads",
]
