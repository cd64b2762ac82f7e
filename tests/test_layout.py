"""The rules of ARCHITECTURE.md that a reader of one file cannot see: who may use whom, and how C is called."""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import models
import onnx
import pytest

PACKAGE = Path(__file__).parents[1] / "ortx"
PARTS = PACKAGE / "_core.src"

if not PARTS.is_dir():
    pytest.skip("needs the source tree: this ortx was installed without it", allow_module_level=True)

MANIFEST = (PACKAGE / "_core.pyx").read_text(encoding="utf-8")
INCLUDE = re.compile(r'^include "_core\.src/(?P<part>\w+\.pxi)"(?P<rest>.*)$', re.MULTILINE)
INCLUDED = [match["part"] for match in INCLUDE.finditer(MANIFEST)]

# What every module may import of the core: the exceptions, and how messages are worded.
ERRORS = set(re.findall(r"(?m)^(?:class|def) (\w+)", (PARTS / "errors.pxi").read_text(encoding="utf-8")))

# And what readers of options may: the tables, and readers for parts of what they read.
OPTIONS = set(re.findall(r"(?m)^(?:class |def |)(\w+)", (PARTS / "tables.pxi").read_text(encoding="utf-8")))

# Every leaf and what it may import of ours; "errors" and "options" are the above, "_core" anything else of the core.
LEAVES = {
    "arguments": {"errors"},
    "batcher": {
        "arguments",
        "errors",
        "batchqueue",
        "valueinfo",
        "_core",
    },  # of the core its types only, as the next one
    "batchqueue": {"errors", "threads", "_core"},
    "cpus": set(),
    "errorcodes": set(),
    "futures": {"errors", "_core"},  # of the core its types only
    "externalfiles": {"errors", "modelwalk"},
    "hazards": {"errors", "modelwire"},
    "modelsource": {"errors", "_core"},  # of the core the way past a model's weights
    "modelwalk": set(),
    "modelwire": set(),
    "modelwriter": set(),
    "threads": {"errors"},
    "libraryinfo": set(),
    "options_in_effect": {"options", "providers"},
    "presets": set(),
    "coreml": {"errors"},
    "providers": {"errors"},
    "recipe": {"errors", "options", "options_in_effect"},
    "sparse": {"errors"},
    "stats": set(),
    "profilerows": set(),
    "profileview": {"errors", "profilerows", "profiling"},  # of the last its types only
    "profiling": {"errors", "profilerows", "profileview"},
    "config_keys": {"errors"},
    "memoryoptions": {"errors", "options"},
    "modeloptions": {"errors", "options"},
    "modelfile": {"modelsource", "modelwire"},
    "modelinfo": set(),
    "zipmaps": {"modelfile", "modelwire", "modelwriter"},
    "valueinfo": {"errors"},
}
# Modules of Python alone that use the core as anybody could, and which leaves they use besides.
ABOVE = {
    "pool": {"errors", "cpus", "externalfiles", "modelfile", "recipe", "stats"},
}
MOST_LINES = 450


# --- Python


def imports_of_ours(file: Path) -> set[str]:
    """Return the modules of ortx that a Python file imports, anywhere in it."""
    modules = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if not isinstance(node, (ast.Import, ast.ImportFrom)):
            continue
        names = {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom) and node.level and node.module == "_core":
            modules |= {"errors" if name in ERRORS else "options" if name in OPTIONS else "_core" for name in names}
        elif isinstance(node, ast.ImportFrom) and node.level:
            modules |= {node.module.split(".")[0]} if node.module else names
        elif isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "ortx":
            modules |= {node.module} if node.module != "ortx" else names
        else:
            modules |= {name for name in names if name.split(".")[0] == "ortx"}
    return modules


def test_every_python_module_has_its_place():
    assert {file.stem for file in PACKAGE.glob("*.py")} == {"__init__", *LEAVES, *ABOVE}


@pytest.mark.parametrize("leaf", LEAVES)
def test_a_leaf_imports_only_what_lies_below_it(leaf):
    assert imports_of_ours(PACKAGE / f"{leaf}.py") <= LEAVES[leaf]


@pytest.mark.parametrize("module", ABOVE)
def test_a_module_above_the_core_imports_only_that_and_its_leaves(module):
    assert imports_of_ours(PACKAGE / f"{module}.py") <= {"_core", "errors", "options", *ABOVE[module]}


def test_the_package_imports_only_the_core_and_what_is_around_it():
    assert imports_of_ours(PACKAGE / "__init__.py") <= {"_core", "errors", *LEAVES, *ABOVE}


def test_the_package_holds_public_names_and_nothing_else():
    body = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8")).body
    unexpected = []
    for position, node in enumerate(body):
        match node:
            case ast.Expr(ast.Constant(str())) if position == 0:
                pass
            case ast.Import() | ast.ImportFrom():
                pass
            case ast.If(test=ast.Name("TYPE_CHECKING"), orelse=[]) if all(
                isinstance(inner, ast.ImportFrom) for inner in node.body
            ):
                pass
            case ast.Assign(targets=[ast.Name("__version__" | "__all__")]):
                pass
            case ast.FunctionDef(name="__getattr__"):  # imports what is not needed before the first session
                pass
            case _:
                unexpected.append(ast.unparse(node))
    assert unexpected == []


def test_import_ortx_imports_numpy_and_the_standard_library_only(run_python):
    done = run_python("""
import json, sys
before = set(sys.modules)
import numpy
with_numpy = set(sys.modules)
import ortx
print(json.dumps([sorted(with_numpy - before), sorted(set(sys.modules) - with_numpy)]))
""")
    assert done.stderr == ""
    of_numpy, of_ortx = json.loads(done.stdout)
    assert "logging" not in {*of_numpy, *of_ortx}
    # The other leaves are imported where they are first needed.
    assert {name for name in of_ortx if name.split(".")[0] == "ortx"} == {"ortx", "ortx._core"}
    foreign = {name.split(".")[0] for name in of_ortx} - sys.stdlib_module_names - {"ortx"}
    # Cython makes these two when an extension module is initialised; they are no files.
    assert {name for name in foreign if not re.fullmatch(r"cython_runtime|_cython_\w+", name)} == set()


# Each module is a fifth of a millisecond of each process: those that look closer are imported where they are needed.
OF_A_FIRST_SESSION = {"_core"}


@pytest.mark.parametrize(
    ("options", "besides"),
    [
        ("intra_op_num_threads=1", set()),
        ("", {"cpus"}),
        ("intra_op_num_threads=1, execution_mode='parallel'", {"cpus"}),
        ("intra_op_num_threads=1, preset='latency'", {"presets", "config_keys"}),
    ],
    ids=str,
)
def test_the_first_session_of_a_small_model_imports_what_it_needs(run_python, tmp_path, options, besides):
    path = tmp_path / "square.onnx"
    path.write_bytes(models.square())
    done = run_python(
        f"""
import sys, ortx
session = ortx.session(sys.argv[1], {options})
session.run([[[2.0, 3.0]]])
print(*(name.removeprefix("ortx.") for name in sys.modules if name.startswith("ortx.")))
assert session.options()["inter_op_num_threads"] and session.options()["max_concurrency"]
""",
        path,
        ORT_DISABLE_TELEMETRY=1,
    )
    assert done.stderr == ""
    assert set(done.stdout.split()) == OF_A_FIRST_SESSION | besides


def of_one_node(op_type: str, inputs: list[str]) -> bytes:
    node = onnx.helper.make_node(op_type, inputs, ["y"])
    return models.build([node], [models.tensor("x")], [models.tensor("y")])


def with_external_data() -> bytes:
    """Return a model of y = x + w, whose w is in another file of its folder."""
    opsets = [onnx.helper.make_opsetid("", models.OPSET)]
    node = onnx.helper.make_node("Add", ["x", "w"], ["y"])
    weights = onnx.TensorProto(name="w", data_type=1, dims=[2], data_location=onnx.TensorProto.EXTERNAL)
    weights.external_data.add(key="location", value="weights.bin")
    graph = onnx.helper.make_graph([node], "g", [models.tensor("x")], [models.tensor("y")], [weights])
    return onnx.helper.make_model(graph, opset_imports=opsets, ir_version=models.IR_VERSION).SerializeToString()


@pytest.mark.parametrize(
    ("model", "besides"),
    [
        (models.square(), set()),
        (of_one_node("Sum", ["x"]), set()),
        (of_one_node("Split", ["x"]), {"hazards", "modelwire"}),
        (with_external_data(), {"externalfiles", "modelwalk"}),
    ],
    ids=["a product", "a sum", "an operator that some nodes of crash", "weights in another file"],
)
def test_only_a_model_that_may_be_dangerous_is_looked_at_closely(run_python, tmp_path, model, besides):
    path = tmp_path / "model.onnx"
    path.write_bytes(model)
    (tmp_path / "weights.bin").write_bytes(bytes(8))
    done = run_python(
        """
import sys, ortx
ortx.session(sys.argv[1], intra_op_num_threads=1)
print(*(name.removeprefix("ortx.") for name in sys.modules if name.startswith("ortx.")))
""",
        path,
        ORT_DISABLE_TELEMETRY=1,
    )
    assert done.stderr == ""
    assert set(done.stdout.split()) == OF_A_FIRST_SESSION | besides


# --- the manifest


def test_every_part_is_included_exactly_once():
    assert sorted(INCLUDED) == sorted(file.name for file in PARTS.iterdir())


def test_every_include_is_a_line_of_its_own_with_a_comment():
    assert MANIFEST.count("\ninclude ") == len(INCLUDED)
    for match in INCLUDE.finditer(MANIFEST):
        assert re.fullmatch(r" +# \S.{10,}", match["rest"]), match[0]


def test_no_part_includes_another():
    assert [file.name for file in PARTS.iterdir() if re.search(r"(?m)^\s*include ", file.read_text("utf-8"))] == []


@pytest.mark.parametrize(
    ("file", "allowed"),
    [
        ("_core.pyx", {"ortx.capi", "cython", "numpy", "cpython", "libc"}),
        ("_core.pxd", {"ortx.capi", "cython", "numpy", "cpython", "libc"}),
        ("capi.pxd", {"libc"}),
    ],
)
def test_declarations_are_cimported_from_below(file, allowed):
    text = (PACKAGE / file).read_text(encoding="utf-8")
    cimported = re.findall(r"(?m)^\s*(?:from\s+([\w.]+)\s+)?cimport\s+([\w.*]+)", text)
    assert cimported
    for module, name in cimported:
        source = module or name
        assert source in allowed or source.split(".")[0] in allowed - {"ortx.capi"}


def test_the_core_imports_only_leaves():
    names = set()
    for text in (MANIFEST, *(file.read_text(encoding="utf-8") for file in PARTS.iterdir())):
        names |= set(re.findall(r"(?m)^\s*from \.(\w+) import ", text))
        for imported in re.findall(r"(?m)^\s*from \. import (.+)", text):
            names |= set(re.split(r",\s*", imported.strip()))
        assert not re.search(r"(?m)^\s*(import ortx|from ortx[.\w]* import)", text)
    assert names
    assert names <= set(LEAVES)


# --- the size of files

SOURCES = sorted(
    file
    for file in (*PACKAGE.iterdir(), *PARTS.iterdir())
    if file.suffix in (".py", ".pyx", ".pxd", ".pxi")  # the header is ORT's table; the stubs are generated
)


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: file.name)
def test_a_source_file_is_short_enough_to_be_read(file):
    assert len(file.read_text(encoding="utf-8").splitlines()) <= MOST_LINES


# --- the code of the parts, as text

# What is not code: a comment or a string. Of an f-string, what is in braces is code.
COMMENT_OR_STRING = re.compile(
    r"""
    (?P<comment>\#[^\n]*)
    | (?P<prefix>\b[a-zA-Z]{1,2})?(?P<string>\"{3}.*?\"{3}|'{3}.*?'{3}|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')
    """,
    re.VERBOSE | re.DOTALL,
)


def code_of(text: str) -> str:
    """Return `text` without its comments and strings, line by line as before."""

    def code_in(match: re.Match[str]) -> str:
        code = ""
        if "f" in (match["prefix"] or "").lower():
            code = " ".join(f"({inner})" for inner in re.findall(r"\{([^{}]*)\}", match["string"]))
        return code + "\n" * (match[0].count("\n") - code.count("\n"))

    return COMMENT_OR_STRING.sub(code_in, text)


CODE = {part: code_of((PARTS / part).read_text(encoding="utf-8")) for part in INCLUDED}

DEFINITION = re.compile(
    r"^(?:(?:cdef\s+)?class\s+(?P<class>\w+)|(?:cdef|cpdef|def)\s+[^=\n]*?(?P<function>\w+)\s*\()", re.MULTILINE
)


def definitions_of(code: str) -> set[str]:
    """Return the names of the functions and classes at the top level of a part."""
    names = {match["class"] or match["function"] for match in DEFINITION.finditer(code)}
    assert not names & {"if", "for", "while", "not", "and", "or", "in"}
    return names


DEFINED_IN = {name: part for part in INCLUDED for name in definitions_of(CODE[part])}


def calls_in(code: str) -> Iterator[tuple[str, int]]:
    """Yield the name and the line of everything that is called by a plain name; what is defined is not called."""
    for match in re.finditer(r"(?<![\w.])(?P<name>\w+)\s*\(", code):
        line_start = code.rfind("\n", 0, match.start()) + 1
        if not re.match(r"\s*(cdef|cpdef|def|class|ctypedef)\b(?!.*=)", code[line_start : match.start()]):
            yield match["name"], code.count("\n", 0, match.start()) + 1


def test_code_is_told_from_text_and_definitions_from_calls():
    code = code_of(
        'cdef int first(a, str b="x(") except -1:\n'
        '    """Not a call: never()"""\n'
        "    # nor this: never()\n"
        "    return second(f\"{third(a)!r} isn't never()\", 'never()')\n"
        "cdef inline const char* fourth(int* a) noexcept nogil:\n"
        "    cdef int x = fifth(a)\n"
        "class Error(RuntimeError):\n"
        "    pass\n"
        "cdef class Sixth:\n"
        "    cdef int method(self):\n"
        "        self.method()\n"
    )
    assert definitions_of(code) == {"first", "fourth", "Error", "Sixth"}
    assert list(calls_in(code)) == [("second", 4), ("third", 4), ("fifth", 6)]


def test_the_parts_define_what_they_are_known_for():
    known = {"check": "status.pxi", "make_value": "value.pxi", "Session": "session.pxi", "session": "open.pxi"}
    assert {name: DEFINED_IN.get(name) for name in known} == known


@pytest.mark.parametrize("part", INCLUDED)
def test_a_part_calls_only_what_is_defined_in_it_or_above(part):
    position = INCLUDED.index(part)
    below = [
        f"{part}:{line}: {name}() of {DEFINED_IN[name]}"
        for name, line in calls_in(CODE[part])
        if name in DEFINED_IN and INCLUDED.index(DEFINED_IN[name]) > position
    ]
    assert below == []


# --- one door for errors

CAPI = code_of((PACKAGE / "capi.pxd").read_text(encoding="utf-8"))
STATUS_SLOTS = set(re.findall(r"\bOrtStatus\s*\*\s*\(\*\s*(\w+)\)", CAPI))
# A pointer to such a function, as a parameter, is one too.
STATUS_TYPES = {name for code in CODE.values() for name in re.findall(r"ctypedef OrtStatus\s*\*\s*\(\*(\w+)\)", code)}

# (part, function): where a status does not go straight into `check`, and why that is so.
STATUS_KEPT = {
    ("workers.pxi", "frame_run"): "checked by whoever waits for the run, in `outcome`",
    ("workers.pxi", "api.RunWithBinding"): "the same",
    ("deadlines.pxi", "api.RunOptionsSetTerminate"): "the thread of the deadlines cannot raise",
    ("interrupt.pxi", "api.RunOptionsSetTerminate"): "a signal's handler cannot raise",
    ("interrupt.pxi", "api.RunOptionsUnsetTerminate"): "no Python code may run before the call is counted as ended",
    ("container.pxi", "api.Run"): "says whether items can be joined: a refusal is an answer, not an error",
    ("workers.pxi", "status_without_turn"): "the same",
    ("serial.pxi", "api.CreateStatus"): "it makes one",
    ("serial.pxi", "status_without_turn"): "as that of the run, which has not begun",
    ("serial.pxi", "frame_run"): "as in frame_run itself; the lock is passed on first",
    ("serial.pxi", "api.RunWithBinding"): "as in run_frame, above; the lock is passed on first",
    ("binding.pxi", "binding_run_alone"): "as in run_frame, above",
    ("frame.pxi", "api.Run"): "frame_run releases the values over callers' buffers before anybody raises",
    ("binding.pxi", "api.RunWithBinding"): "as in run_frame, above",
    ("pace.pxi", "frame_run"): "run_at_pace is for run_frame",
    ("stats.pxi", "run_at_pace"): "as frame_run, below",
    ("stats.pxi", "frame_run_alone"): "the same",
    ("stats.pxi", "frame_run"): "run_frame counts the call as ended before Python code may run again",
}


def status_calls(code: str) -> Iterator[tuple[str, int]]:
    """Yield the name and the offset of everything called in a part that returns a status."""
    returning = set(re.findall(r"(?m)^cdef (?:inline )?OrtStatus\s*\*\s*(\w+)\(", "\n".join(CODE.values())))
    for type_name in STATUS_TYPES:
        returning |= set(re.findall(rf"\b{type_name} (\w+)", code))
    for match in re.finditer(r"(?<![\w.])(?P<name>(?:api\.)?(?P<last>\w+))\s*\(", code):
        if code[: match.start()].endswith("OrtStatus* "):
            continue  # its definition
        if match["last"] in (STATUS_SLOTS if match["name"].startswith("api.") else returning):
            yield match["name"], match.start()


def caller_around(code: str, offset: int) -> str:
    """Return the name in front of the innermost parenthesis that is open at `offset`."""
    depth = 0
    for position in range(offset - 1, -1, -1):
        depth += {")": 1, "(": -1}.get(code[position], 0)
        if depth < 0:
            return re.search(r"\w*$", code[:position].rstrip())[0]
    return ""


def test_what_returns_a_status_is_recognised():
    assert {"CreateSession", "Run", "GetTensorMutableData"} <= STATUS_SLOTS
    assert not {"GetErrorCode", "ReleaseSession", "MemoryInfoGetDeviceType"} & STATUS_SLOTS
    assert {"CountFunction", "NameFunction"} <= STATUS_TYPES
    found = {name for code in CODE.values() for name, _ in status_calls(code)}
    assert {"api.CreateSession", "api.Run", "frame_run", "get_count"} <= found
    assert caller_around("check(a if b else c(d) or e())", 23) == "check"
    assert caller_around("check(a)\nstatus = b()", 18) == ""


def test_every_status_goes_into_check():
    unchecked = {
        (part, name)
        for part, code in CODE.items()
        for name, offset in status_calls(code)
        if caller_around(code, offset) != "check"
    }
    assert unchecked == set(STATUS_KEPT)


@pytest.mark.parametrize(("part", "name"), STATUS_KEPT)
def test_a_status_that_is_kept_is_returned_checked_or_handed_on_in_the_same_function(part, name):
    afters = re.findall(rf"status = {re.escape(name)}\((.*?)(?=^\s*(?:cdef|def) |\Z)", CODE[part], re.M | re.S)
    assert afters
    if part == "workers.pxi":  # `run_job` leaves it in the job
        afters = re.findall(r"cdef object failure_of\(.*?(?=^cdef |\Z)", CODE["runs.pxi"], re.M | re.S)
        assert "status = run.job.status" in afters[0]
    handled = re.compile(r"return status\b|(check|discard|error_of)\(status\)|finish_run\(\w+, status\)")
    assert all(handled.search(after) for after in afters)


def test_only_check_reads_and_releases_a_status():
    users = {
        part for part, code in CODE.items() if re.search(r"\bapi\.(GetErrorCode|GetErrorMessage|ReleaseStatus)\b", code)
    }
    assert users == {"status.pxi"}


# --- one door for what a fork has to wait for

OPENS = re.compile(r"\bapi\.(CreateSession(?!Options)\w*|RegisterCustomOpsLibrary_V2|CreateEnv\w*)\(")


def functions_that_open() -> Iterator[tuple[str, str]]:
    """Yield name and code of each function of the core that makes a session or the environment, or loads a library."""
    for code in CODE.values():
        for function in re.split(r"(?m)^(?=cdef |def )", code):
            if OPENS.search(function):
                yield DEFINITION.match(function)["function"], function


def test_no_thread_can_fork_while_another_makes_a_session_or_loads_a_library():
    functions = dict(functions_that_open())
    assert set(functions) == {"create_session", "register_custom_ops", "make_env"}
    for name in ("create_session", "register_custom_ops"):
        before = functions[name][: OPENS.search(functions[name]).start()]
        assert re.search(r"\bbegin_opening\(\)\n\s+try:\n", before)
        assert re.search(r"\bfinally:\n\s+end_opening\(\)\n", functions[name])
    # A fork takes this lock itself.
    assert re.search(r"with setup_lock:\n(?:\s{8}.*\n|\n)*\s{8}make_env\(\)", CODE["env.pxi"])
    assert sum(code.count("make_env()") for code in CODE.values()) == 2


# --- threads

CHANGED = re.compile(r"(?m)^\s+global (?P<names>[^#\n]+)")


def test_every_variable_of_the_process_that_changes_stands_in_the_table_of_threads():
    table = (PACKAGE.parent / "docs" / "threads.md").read_text(encoding="utf-8")
    changed = {
        name.strip() for code in CODE.values() for match in CHANGED.finditer(code) for name in match["names"].split(",")
    }
    assert {"api", "env", "live_handles"} - changed == {"live_handles"}  # which is changed in place
    assert {name for name in changed if f"`{name}`" not in table} == set()


def test_the_core_says_that_it_needs_no_gil_only_when_nothing_in_that_table_is_missing():
    table = (PACKAGE.parent / "docs" / "threads.md").read_text(encoding="utf-8")
    is_declared = re.search(r"freethreading_compatible\s*=\s*True", MANIFEST) is not None
    assert is_declared == ("| missing" not in table)
