"""Read what callgrind writes, and tell what one call costs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

SPREAD = 0.002  # by how much the rounds of one measurement may differ; or by
FEW = 2  # instructions per call, since what Python does around a batch varies by some hundred
GUARDED = {"outside": "outside ONNX Runtime", "total": "in all"}  # the figures that are compared

# Of the path of an object file; the first that is found in it says whose it is.
OBJECTS = {
    "ONNX Runtime": r"/libonnxruntime[^/]*$",
    "ortx": r"/ortx/_core[^/]*$",
    "numpy": r"/numpy(\.libs)?/",
    "Python": r"/(lib)?python3[^/]*$|/lib-dynload/[^/]*$|/libffi[^/]*$",
    "C library": r"/(libc|libm|libdl|libpthread|librt|ld|ld-linux[^/.]*)[-.][^/]*$",
    "C++ library": r"/(libstdc\+\+|libgcc_s)[^/]*$",
    "floor": r"/floor\.so$",
}
# Whoever of these calls ONNX Runtime does so because ONNX Runtime called it.
NEVER_FIRST = {"ONNX Runtime", "C library", "C++ library"}

Counts = dict[str, dict[str, Any]]  # of statements: {"total": 1, "outside": 1, "objects": {"ortx": 1}}


class CountError(Exception):
    """The instructions cannot be counted here; the text says why, and what to do."""


@dataclass
class Dump:
    """What callgrind counted in one batch of calls.

    Attributes
    ----------
    label : str
        What the process said with which it asked for the dump.
    objects : dict
        Instructions of each object file, by whose it is.
    inside : int
        Instructions between a call into ONNX Runtime and the return from it, those of the C library included.
    """

    label: str = ""
    objects: dict[str, int] = field(default_factory=dict)
    inside: int = 0

    @property
    def total(self) -> int:
        """All instructions."""
        return sum(self.objects.values())

    @property
    def outside(self) -> int:
        """All instructions but those inside calls into ONNX Runtime."""
        return self.total - self.inside


def read_dump(text: str) -> Dump:
    """Read a file of callgrind's, of one event (Ir), written with names and positions in full.

    Raises
    ------
    CountError
        If the sum of what was read is not what callgrind itself says it is.
    """
    dump, owner, callee, said = Dump(), "other", None, None
    lines = iter(text.splitlines())
    for line in lines:
        word, _, rest = line.partition("=")
        if line[:1].isdigit():
            dump.objects[owner] = dump.objects.get(owner, 0) + int(line.split()[1])
        elif word == "ob":
            owner = owner_of(rest)
        elif word == "cob":  # of the next call only; without it, a function calls one of its own object
            callee = owner_of(rest)
        elif word == "calls":
            inclusive = int(next(lines).split()[1])
            if callee == "ONNX Runtime" and owner not in NEVER_FIRST:
                dump.inside += inclusive
            callee = None
        elif line.startswith("desc: Trigger: Client Request: "):
            dump.label = line.removeprefix("desc: Trigger: Client Request: ")
        elif line.startswith(("summary:", "totals:")):
            said = int(line.split()[1])
    if said is not None and said != dump.total:
        raise CountError(f"callgrind says that it counted {said} instructions; those that it lists are {dump.total}")
    return dump


def owner_of(path: str) -> str:
    """Return whose an object file is: a key of `OBJECTS`, or ``"other"``."""
    return next((owner for owner, pattern in OBJECTS.items() if re.search(pattern, path)), "other")


def counts_per_call(dumps: Iterable[Dump], names: Sequence[str]) -> Counts:
    """Return what one call of each costs, from dumps labelled ``index calls round``.

    It is the difference between a batch and one of twice as many calls, so what is around the batch does not count. A
    thing called "pass" is what is in every call besides; it is taken away from the others, and left out.

    Raises
    ------
    CountError
        If the rounds differ.
    """
    batches: dict[tuple[int, int], list[tuple[int, Dump]]] = {}
    for dump in dumps:
        if dump.label:
            index, calls, round_ = map(int, dump.label.split())
            batches.setdefault((index, round_), []).append((calls, dump))
    counts: Counts = {}
    for index, name in enumerate(names):
        rounds = [
            difference(*sorted(pair, key=lambda batch: batch[0]))
            for (of, round_), pair in sorted(batches.items(), key=lambda item: item[0])
            if of == index and round_ > 0
        ]
        for which in GUARDED:
            few, many = min(one[which] for one in rounds), max(one[which] for one in rounds)
            if many - few > max(SPREAD * few, FEW):
                raise CountError(
                    f"{name}: the rounds differ by more than {SPREAD:.1%}: {few:.1f} to {many:.1f} instructions "
                    f"{GUARDED[which]}. Something besides the call is going on in the process, such as another thread"
                )
        counts[name] = min(rounds, key=lambda one: one["total"])
    empty = counts.pop("pass", None)
    for count in counts.values():
        if empty is not None:
            count["total"] -= empty["total"]
            count["outside"] -= empty["outside"]
            for owner, number in empty["objects"].items():
                count["objects"][owner] = count["objects"].get(owner, 0) - number
        count["total"], count["outside"] = round(count["total"]), round(count["outside"])
        count["objects"] = {owner: round(number) for owner, number in count["objects"].items() if round(number)}
    return counts


def difference(fewer: tuple[int, Dump], more: tuple[int, Dump]) -> dict[str, Any]:
    """Return the costs of one call, given two numbers of calls and what they cost."""
    calls = more[0] - fewer[0]
    few, many = fewer[1], more[1]
    return {
        "total": (many.total - few.total) / calls,
        "outside": (many.outside - few.outside) / calls,
        "objects": {
            owner: (many.objects.get(owner, 0) - few.objects.get(owner, 0)) / calls
            for owner in [*OBJECTS, "other"]
            if owner in many.objects
        },
    }
