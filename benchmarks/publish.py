"""Write results into the README and docs/performance.md: ``python -m benchmarks.publish result.json``.

What is written stands between two comments, see `markers`; everything else on the pages is left as it is. The
pictures are drawn anew, too.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from . import growth
from .__main__ import need
from .result import Result, read_json, works_of
from .suite import OFFICIAL, ORTX, PYTHON, C
from .tables import NAMES, case_title, grouped, is_by_callers, microseconds, noise, with_unit

ROOT = Path(__file__).parents[1]
PICTURE, GROWTH_PICTURE = Path("docs/images/benchmark.svg"), Path("docs/images/growth.svg")
SIDES = (C, ORTX, OFFICIAL)


class NoMarkers(ValueError):
    """A page lacks the comments between which something is to be written."""


# --- pages ------------------------------------------------------------------------------------------------------------


def markers(name: str, command: str = "benchmarks.publish") -> tuple[str, str]:
    """Return the comments around a block: definitions of links, of which no reader sees anything."""
    return f"[//]: # ({name}: written by `python -m {command}`, do not edit)", f"[//]: # (end of {name})"


def replaced(page: str, name: str, block: str, command: str = "benchmarks.publish") -> str:
    """Return the page with another block between the markers."""
    first, last = markers(name, command)
    if page.count(first) != 1 or page.count(last) != 1 or page.index(first) > page.index(last):
        raise NoMarkers(f"expected once, in this order: {first} and {last}")
    return page[: page.index(first) + len(first)] + f"\n\n{block.strip()}\n\n" + page[page.index(last) :]


def block_of(page: str, name: str) -> str:
    """Return what stands between the markers."""
    first, last = markers(name)
    match = re.search(f"{re.escape(first)}\n(.*?){re.escape(last)}", page, re.DOTALL)
    if match is None:
        raise NoMarkers(f"expected {first} and {last}")
    return match[1].strip()


def publish(root: Path, result: Result | None, grown: Result | None) -> list[Path]:
    """Write all blocks and pictures that there are results for; return the files."""
    blocks: dict[Path, dict[str, str]] = {}
    written = []
    if result:
        blocks = {Path("README.md"): {"calls": summary(result)}, Path("docs/performance.md"): everything(result)}
    if grown:
        blocks.setdefault(Path("docs/performance.md"), {})["growth"] = growth_tables(grown)
    # All pages first: a missing marker leaves everything as it was.
    texts = {path: (root / path).read_text("utf-8") for path in blocks}
    for path, parts in blocks.items():
        for name, block in parts.items():
            texts[path] = replaced(texts[path], name, block)
    for path, text in texts.items():
        (root / path).write_text(text, "utf-8")
        written.append(path)
    if result:
        from . import picture

        picture.draw(result, root / PICTURE)
        written.append(PICTURE)
    if grown:
        from . import growth_picture

        growth_picture.draw(grown, root / GROWTH_PICTURE)
        written.append(GROWTH_PICTURE)
    return written


# --- blocks -----------------------------------------------------------------------------------------------------------


def summary(result: Result) -> str:
    """Return a line for each work: what a call costs on each side, and the ratios."""
    lines = []
    for case in result["cases"]:
        for rows in works_of(result, case["key"]):
            if any(row["to_floor"] for row in rows):
                lines.append(_summary_line(result, case, rows))
    head = ("what", "C", "ortx", "official", "ortx / C", "ortx / official")
    return "\n\n".join((table(head, lines, left=1), *sentences(result)))


def _summary_line(result: Result, case: Result, rows: Sequence[Result]) -> tuple[str, ...]:
    first = {who: next(row for row in rows if row["who"] == who) for who in SIDES}
    by_callers = is_by_callers(result, rows[0])
    call = rows[0]["work_title"] if by_callers else f"`{short(first[ORTX]['call'], 44)}`"
    return (
        f"{case['title']}: {call}",
        *(with_unit(first[who]["median_ns"]) for who in SIDES),
        f"**{first[ORTX]['to_floor']['median']:.2f}**",
        f"{first[ORTX]['to_official']['median']:.2f}",
    )


def sentences(result: Result) -> Iterator[str]:
    """Say what stands in no table, and which machine it was."""
    parts = []
    imports = {row["key"]: row["median_ns"] / 1e6 for row in result["imports"]}
    if imports:
        parts.append(
            f"`import ortx` takes {imports['import-ortx']:.1f} ms after `import numpy` (which takes "
            f"{imports['import-numpy']:.0f} ms), `import onnxruntime` {imports['import-onnxruntime']:.0f} ms."
        )
    for title, group in grouped(result["starts"], "title"):
        above = {row["who"]: row["above_floor_ns"] / 1e6 for row in group if row["above_floor_ns"] is not None}
        more = {row["who"]: row["excess_ns"] / 1e6 for row in group if row["excess_ns"] is not None}
        parts.append(
            f"A whole process that imports, makes a session and runs it once ({title}) takes {more[ORTX]:.0f} ms "
            f"more than a Python that only imports numpy; with the official package {more[OFFICIAL]:.0f} ms; a C "
            f"program takes {more[C]:.0f} ms. Above what C and that Python take together, these are "
            f"{above[ORTX]:.1f} and {above[OFFICIAL]:.1f} ms; of the C program as a function that Python calls, "
            f"{above[PYTHON]:.1f} ms."
        )
    if parts:
        yield " ".join(parts)
    load = result["load"]
    yield f"{noise(result, brief=True)} Load average {load['before']} before, {load['after']} after."
    yield versions(result)


def versions(result: Result) -> str:
    """Say when it was measured, with what and on what."""
    return f"Taken {result['taken'][:10]}: " + ", ".join(f"{n} {v}" for n, v in result["machine"].items()) + "."


def everything(result: Result) -> dict[str, str]:
    """Return the blocks of docs/performance.md."""
    return {
        "all calls": "\n\n".join(_calls(result)),
        "threads": _threads(result),
        "processes": _processes(result),
        "machine": "\n\n".join((noise(result), versions(result))),
    }


def _calls(result: Result) -> Iterator[str]:
    head = ("", "call", "median us", "p99 us", "/ C", "/ official")
    for case in result["cases"]:
        works = [rows for rows in works_of(result, case["key"]) if not is_by_callers(result, rows[0])]
        if not works:
            continue
        lines = []
        for rows in works:
            lines.append(("", f"*{rows[0]['work_title']}*", "", "", "", ""))
            lines += [
                (
                    NAMES[row["who"]],
                    row["label"] or f"`{short(row['call'])}`",
                    microseconds(row["median_ns"]),
                    microseconds(row["p99_ns"]) if row["p99_ns"] else "-",
                    _ratio(row["to_floor"]),
                    _ratio(row["to_official"]),
                )
                for row in rows
            ]
        yield f"**{case_title(case)}**, {case['rounds']} rounds"
        yield table(head, lines, left=2)


def _threads(result: Result) -> str:
    head = ("", "threads", "calls per ms", "time / C", "scaling", "scaling / C's")
    lines = []
    for case in result["cases"]:
        rows = [row for rows in works_of(result, case["key"]) for row in rows if is_by_callers(result, row)]
        if rows:
            lines.append((f"*{case['title']}*", "", "", "", "", ""))
        for row in sorted(rows, key=lambda row: SIDES.index(row["who"])):
            lines.append(
                (
                    NAMES[row["who"]],
                    str(row["callers"]),
                    f"{1e6 / row['median_ns']:.1f}",
                    _ratio(row["to_floor"]),
                    _ratio(row["scaling"]),
                    _ratio(row["scaling_to_floor"]),
                )
            )
    return table(head, lines, left=1)


def _processes(result: Result) -> str:
    parts = []
    for title, group in grouped(result["starts"], "title"):
        lines: list[tuple[str, ...]] = [
            (
                NAMES[row["who"]],
                ", ".join(f"{name} {time / 1e6:.1f}" for name, time in row["phases_ns"].items()),
                f"{row['median_ns'] / 1e6:.1f}",
                "" if row["excess_ns"] is None else f"{row['excess_ns'] / 1e6:.1f}",
                _ratio(row["to_floor"]),
                "" if row["above_floor_ns"] is None else f"{row['above_floor_ns'] / 1e6:.1f}",
            )
            for row in group
        ]
        head: tuple[str, ...] = (
            "",
            "its phases, ms",
            "whole, ms",
            "more than bare Python",
            "/ (C + bare)",
            "above C + bare, ms",
        )
        parts += [f"**{title}**", table(head, lines, left=2)]
    for title, group in grouped(result["memory"], "title"):
        lines = [
            (
                NAMES[row["who"]],
                *(f"{row[f'{name}_bytes'] / 1e6:.0f}" for name in ("before", "first", "further", "left")),
            )
            for row in group
        ]
        size = f"{group[0]['model_bytes'] / 1e6:.0f} MB"
        head = ("", "before, MB", "first session", "each further one", "left after closing all")
        parts += [f"**Memory: {title}, {size}; {group[0]['sessions']} sessions**", table(head, lines, left=1)]
    return "\n\n".join(parts)


def growth_tables(result: Result) -> str:
    """Return the curves as tables, with their slopes."""
    lines = [
        (
            sweep["title"],
            f"{growth.shown_point(sweep, sweep['points'][0])} to {growth.shown_point(sweep, sweep['points'][-1])}",
            growth.statement(sweep),
        )
        for sweep in result["sweeps"]
    ]
    parts = [table(("varied", "from, to", "how it grows"), lines, left=3)]
    for sweep in result["sweeps"]:
        points = [growth.shown_point(sweep, point) for point in sweep["points"]]
        rows = []
        for who, side in sweep["sides"].items():
            rows.append((f"{NAMES[who]}, us a call", *map(microseconds, side["median_ns"])))
            if side["to_floor"]:
                rows.append((f"{NAMES[who]} / C", *(f"{one['median']:.2f}" for one in side["to_floor"])))
        parts += [f"**{sweep['title']}**, {sweep['rounds']} rounds", table(("", *points), rows, left=1)]
    return "\n\n".join((*parts, versions(result)))


def table(head: Sequence[str], lines: Iterable[Sequence[str]], left: int) -> str:
    """Return a table in Markdown; so many columns stand at the left."""
    rule = ["---" if column < left else "---:" for column in range(len(head))]
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, rule, *lines))


def short(call: str, most: int = 60) -> str:
    """Return a statement that fits into a table."""
    return call if len(call) <= most else call[: most - 4].rstrip(". ,") + " ..."


def _ratio(ratio: Mapping[str, float] | None) -> str:
    return "" if ratio is None else f"{ratio['median']:.2f}"


# --- the command line -------------------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.publish", description=__doc__)
    parser.add_argument("result", type=Path, nargs="?", help="what `python -m benchmarks --json` has written")
    parser.add_argument(
        "--growth", type=Path, metavar="FILE", help="what `python -m benchmarks.growth --json` has written"
    )
    parser.add_argument("--root", type=Path, default=ROOT, help="where README.md is")
    options = parser.parse_args(arguments)
    if options.result is None and options.growth is None:
        parser.error("nothing to write: name a result, or --growth, or both")
    need(parser, ["matplotlib"])
    try:
        result = read_json(options.result) if options.result else None
        grown = json.loads(options.growth.read_text("utf-8")) if options.growth else None
        for path in publish(options.root, result, grown):
            print(path)
    except (OSError, ValueError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
