"""What the numbers were taken on and with."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import ortx

from . import floor


def describe() -> dict[str, str | int]:
    """Return versions and machine, as pairs to print."""
    library = ortx.load_library()
    return {
        "ortx": ortx.__version__,
        "ONNX Runtime": library.version,
        "onnxruntime": metadata.version("onnxruntime"),
        "numpy": metadata.version("numpy"),
        "Python": platform.python_version(),
        "compiler of the floor": _compiler(),
        "CPU": _cpu(),
        "cores": os.cpu_count() or 0,
        "system": f"{platform.system()} {platform.machine()}",
    }


def load() -> float:
    """Return how many processes wanted a core over the last minute."""
    return round(os.getloadavg()[0], 2)


def _compiler() -> str:
    command = floor.compiler()
    if command is None:
        return "none"
    finished = subprocess.run([*command, "--version"], capture_output=True, text=True, check=False)
    return (finished.stdout or " ".join(command)).splitlines()[0]


def _cpu() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    elif sys.platform == "darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return platform.processor() or platform.machine()
