"""The options of an open session: as they were resolved, and in a user's words.

Nothing of it is needed to open one.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from . import providers
from ._core import SessionOptions, coreml_options

__all__ = ["as_table", "effective", "runs_concurrently", "with_cpu"]


def effective(
    options: SessionOptions,
    provider_names: Collection[str],
    *,
    intra_op_num_threads: int,
    inter_op_num_threads: int,
    session_log_severity_level: int,
) -> SessionOptions:
    """Return the options of a session that is open: with what it really runs on, and with what 0 and None stand for."""
    unused: dict[str, Any] = dict.fromkeys(coreml_options(options))
    if unused and "CoreMLExecutionProvider" not in provider_names:
        options = options.replace(**unused)
    return options.replace(
        providers=_used(options, provider_names),
        concurrent_runs=runs_concurrently(options, provider_names),
        intra_op_num_threads=intra_op_num_threads,
        inter_op_num_threads=inter_op_num_threads,
        session_log_severity_level=session_log_severity_level,
    )


def runs_concurrently(options: SessionOptions, provider_names: Collection[str]) -> bool:
    """Return whether runs may overlap: as the user says, or else as the providers that are used allow it."""
    if options.concurrent_runs is not None:
        return options.concurrent_runs
    return providers.may_run_concurrently(_used(options, provider_names))


def _used(options: SessionOptions, provider_names: Collection[str]) -> tuple[Any, ...]:
    return tuple(provider for provider in options.providers if provider.name in provider_names)


def with_cpu(options: SessionOptions) -> SessionOptions:
    """Return options that list the CPU provider, too, which every session has."""
    listed = options.providers
    return options if providers.CPU in listed else options.replace(providers=(*listed, providers.CPU))


def as_table(options: SessionOptions) -> dict[str, object]:
    """Return session options in a user's words: what `read_session_options` would read as `options`."""
    names = (name for name in options.fields if name != "provider")
    return {name: getattr(options, name) for name in names} | {
        "providers": [
            (provider.name, dict(provider.options)) if provider.options else provider.name
            for provider in options.providers
        ],
        "free_dimension_overrides": [
            {"by": by, "key": key, "value": size} for by, key, size in options.free_dimension_overrides
        ],
        "config_entries": dict(options.config_entries),
        "custom_op_libraries": list(options.custom_op_libraries),
        "initializers": dict(options.initializers),
        "external_data": dict(options.external_data),
    }
