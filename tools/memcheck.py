"""Programs that watch memory, on ortx: AddressSanitizer, UndefinedBehaviorSanitizer, LeakSanitizer, valgrind.

    python -m tools.memcheck suite [FILE ...]   # the tests under ASan and UBSan
    python -m tools.memcheck leaks              # a short session under LSan
    python -m tools.memcheck valgrind           # a short session under valgrind

The first two make a build of their own, in build/sanitized, beside which the ordinary one stays as it is. Each exits
with 1 if there is anything to mend. What is passed over, and why, is in tests/*.supp, and in `NOT_SANITIZED` below.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
SANITIZED = ROOT / "build" / "sanitized"
REPORTS = ROOT / "build" / "reports"
SESSION = Path("tests", "short_session.py")

SANITIZERS = "-fsanitize=address,undefined"
# What UBSan finds ends the process, as what ASan finds does; optimised a little, or the suite takes too long.
COMPILER_FLAGS = f"-O1 {SANITIZERS} -fno-sanitize-recover=undefined -fno-omit-frame-pointer"
NOT_COPIED = (".*", "build", "dist", "*.so", "*.egg-info", "__pycache__")

# Tests that say nothing in a sanitized build, and why: files, and single ones.
NOT_SANITIZED = {
    "fuzz/test_crashes.py": "has ONNX Runtime die on purpose",
    "fuzz/test_fuzz_models.py": "asks for more memory than there is, for which ASan ends a process",
    "test_heap.py": "measures the memory of glibc's malloc, which ASan replaces",
    "test_instructions.py": "counts the instructions of an ordinary build",
    "test_memcheck.py": "starts what this is",
    "test_out_of_memory.py": "limits the memory of processes, of which ASan reserves terabytes",
    "test_story_leaks.py": "measures memory, as test_heap.py",
    "test_static_checks.py": "looks at the sources only",
}
MEASURES = "measures memory, as test_heap.py"
FORKS = "forks while another thread allocates: gcc's ASan leaves the lock of its allocator held in the child"
TOO_MUCH = "asks for more memory than there is, for which ASan ends a process"
DESELECTED = {
    "test_environments.py::test_no_environment_is_needed": "has a process without ASan's options, so it reports leaks",
    "test_externaldata.py::test_a_loaded_model_lies_in_memory_once": MEASURES,
    "test_memoryoptions.py::test_memory_that_the_system_does_not_have_is_an_error_of_its_own": TOO_MUCH,
    "test_pickle.py::test_joblib_and_loky_take_sessions_and_lambdas_around_them": (
        "has loky call the program pgrep, which hangs where ASan is loaded before it"
    ),
    "test_pool.py::test_a_further_session_of_100_mb_costs_at_most_a_tenth_of_the_first": MEASURES,
    "test_weights.py::test_a_second_session_takes_memory_for_weights_only_if_they_are_not_shared": MEASURES,
    **dict.fromkeys(
        (
            f"test_seeds.py::test_an_item_of_the_pages_works[C API - Querying Session Information - {name}: freed with "
            "the allocator]"
            for name in ("SessionGetInputName", "SessionGetOutputName")
        ),
        MEASURES,
    ),
    "test_stats.py::test_a_run_without_memory_is_told_apart_from_other_failures": TOO_MUCH,
    "test_story_exit.py::test_a_child_of_a_process_with_sessions_leaves_with_the_code_it_says[a submitted run]": FORKS,
    "test_story_fork.py::test_children_forked_under_load_can_all_open_run_and_exit": FORKS,
    "test_story_fork.py::test_memory_of_values_from_before_is_not_given_back_in_the_child": MEASURES,
    "test_story_fork.py::test_runs_in_progress_at_the_fork_are_none_in_the_child_and_go_on_in_the_parent": FORKS,
    "test_strings.py::test_two_hundred_runs_of_ten_thousand_strings_leave_no_memory_behind": MEASURES,
    "test_story_lifetimes.py::test_nothing_is_read_after_it_was_freed_where_freeing_spoils_it": (
        "needs an allocator that spoils what is freed, as glibc's can; ASan does that better"
    ),
}


# --- sanitizers -----------------------------------------------------------------------------------------------------


def build_sanitized() -> None:
    """Copy the tree to build/sanitized, and build it there with ASan and UBSan."""
    shutil.copytree(ROOT, SANITIZED, ignore=shutil.ignore_patterns(*NOT_COPIED), dirs_exist_ok=True)
    wheels = ROOT / "build" / "wheels"  # other versions of ONNX Runtime, which tests download once
    wheels.mkdir(parents=True, exist_ok=True)
    (SANITIZED / "build").mkdir(exist_ok=True)
    if not (SANITIZED / "build" / "wheels").exists():
        (SANITIZED / "build" / "wheels").symlink_to(wheels)
    flags = {"ORTX_DEBUG": "1", "ORTX_CFLAGS": COMPILER_FLAGS, "ORTX_LDFLAGS": SANITIZERS}
    command = [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"]
    subprocess.run(command, cwd=SANITIZED, env=os.environ | flags | {"PYTHONPATH": str(SANITIZED)}, check=True)


def sanitizer_environment(*, leaks: bool) -> dict[str, str]:
    """Return the variables with which Python loads a sanitized module, and writes reports into files."""
    libraries = [library_of_the_compiler(name) for name in ("libasan.so", "libubsan.so")]
    tests = SANITIZED / "tests"
    of_all = f"log_path={REPORTS}/report"
    return {
        "PYTHONPATH": str(SANITIZED),
        "PYTHONMALLOC": "malloc",  # Python's own allocator would hide what is done to its objects
        "LD_PRELOAD": " ".join(libraries),
        # The unwinder that knows no frame pointers is slow; without it nothing is known of what Python's frames hide.
        "ASAN_OPTIONS": f"{of_all}:detect_leaks={int(leaks)}:fast_unwind_on_malloc={int(not leaks)}"
        f":malloc_context_size={40 if leaks else 20}:exitcode=66:suppressions={tests / 'asan.supp'}",
        "LSAN_OPTIONS": f"exitcode=66:print_suppressions=0:suppressions={tests / 'lsan.supp'}",
        "UBSAN_OPTIONS": f"{of_all}:print_stacktrace=1:suppressions={tests / 'ubsan.supp'}",
    }


def library_of_the_compiler(name: str) -> str:
    found = subprocess.run(
        ["gcc", f"-print-file-name={name}"], capture_output=True, text=True, check=True
    ).stdout.strip()
    if not Path(found).is_file():
        raise SystemExit(f"needs gcc's {name}, which is not installed here")
    return found


def reports() -> dict[str, str]:
    """Return what sanitizers have written, by process."""
    return {file.name: file.read_text(errors="replace") for file in sorted(REPORTS.glob("report.*"))}


def fresh_reports() -> None:
    shutil.rmtree(REPORTS, ignore_errors=True)
    REPORTS.mkdir(parents=True)


def run_suite(names: Sequence[str]) -> int:
    """Run the tests, file by file: one that ends the process takes no others with it."""
    build_sanitized()
    fresh_reports()
    environment = os.environ | sanitizer_environment(leaks=False)
    tests = sorted((SANITIZED / "tests").rglob("test_*.py"))
    wrong = []
    for file in tests:
        name = str(file.relative_to(SANITIZED / "tests"))
        if names and name not in {*names, *(Path(given).name for given in names)}:
            continue
        if name in NOT_SANITIZED:
            print(f"{name}: left out: {NOT_SANITIZED[name]}", flush=True)
            continue
        before = reports()
        command = [sys.executable, "-m", "pytest", "--quiet", "-p", "no:cacheprovider", str(file)]
        command += [word for test in DESELECTED for word in ("--deselect", f"tests/{test}")]
        done = subprocess.run(command, cwd=SANITIZED, env=environment, capture_output=True, text=True)
        new = {report: text for report, text in reports().items() if report not in before}
        is_wrong = done.returncode not in (0, 5) or bool(new)  # 5: a module that is skipped as a whole
        (last,) = done.stdout.strip().splitlines()[-1:] or ["nothing was printed"]
        print(f"{name}: {'WRONG: ' if is_wrong else ''}{last}", flush=True)
        if is_wrong:
            wrong.append(name)
            print(done.stdout[-8000:], done.stderr[-4000:], *new.values(), sep="\n", flush=True)
    print(f"wrong: {', '.join(wrong) or 'nothing'}")
    return int(bool(wrong))


def run_leaks(program: Path = SESSION) -> int:
    """Run a program in the sanitized build, and say what was not released at its end."""
    if program == SESSION:
        build_sanitized()
    fresh_reports()
    environment = os.environ | sanitizer_environment(leaks=True)
    done = subprocess.run([sys.executable, str(program)], cwd=SANITIZED, env=environment)
    for text in reports().values():
        print(text)
    print(f"exit code {done.returncode}, {len(reports())} reports")
    return int(done.returncode != 0 or bool(reports()))


# --- valgrind -------------------------------------------------------------------------------------------------------


def is_ours(error: ElementTree.Element) -> bool:
    """Whether any of the stacks of an error goes through the compiled module.

    Leaks are not meant, which valgrind adds to each report in XML: of what Python keeps until the end it knows less
    than LeakSanitizer does.
    """
    if (error.findtext("kind") or "").startswith("Leak_"):
        return False
    return any(Path(obj.text or "").name.startswith("_core.") for obj in error.iter("obj"))


def described(error: ElementTree.Element) -> str:
    """Return an error of valgrind's in words, with its stacks."""

    def lines() -> Iterator[str]:
        yield error.findtext("what") or error.findtext("xwhat/text") or error.findtext("kind") or "an error"
        for stack in error.iter("stack"):
            for frame in stack.iter("frame"):
                place = frame.findtext("file") or Path(frame.findtext("obj") or "?").name
                yield f"    {frame.findtext('fn') or '?'} ({place}:{frame.findtext('line') or '?'})"
            yield ""

    return "\n".join(lines())


def run_valgrind(program: Path = ROOT / SESSION) -> int:
    """Run a program under memcheck, and say which errors have ortx on their stack.

    The others are Python's, numpy's and ONNX Runtime's own business. (CPython 3.11, for one, looks at the digits of an
    integer that has none, so that every small integer made of bytes has an address that valgrind does not trust.)
    """
    if shutil.which("valgrind") is None:
        raise SystemExit("needs valgrind, which is not installed here")
    fresh_reports()
    file = REPORTS / "valgrind.xml"
    command = ["valgrind", "--tool=memcheck", "--leak-check=no", "--num-callers=40", "--xml=yes", f"--xml-file={file}"]
    command += [f"--suppressions={ROOT / 'tests' / 'valgrind.supp'}", sys.executable, str(program)]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONMALLOC": "malloc"})
    errors = ElementTree.parse(file).getroot().findall("error")
    ours = [error for error in errors if is_ours(error)]
    for error in ours:
        print(described(error))
    print(f"exit code {done.returncode}, {len(ours)} errors with ortx on the stack, {len(errors) - len(ours)} without")
    return int(done.returncode != 0 or bool(ours))


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, and do it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=["suite", "leaks", "valgrind"])
    parser.add_argument("names", nargs="*", help="of tests; all if not given")
    given = parser.parse_args(arguments)
    if given.what == "suite":
        return run_suite(given.names)
    return run_leaks() if given.what == "leaks" else run_valgrind()


if __name__ == "__main__":
    raise SystemExit(main())
