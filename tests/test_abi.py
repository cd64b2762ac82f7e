"""The header of the binary interface and its Cython twin: every slot in its place, every type as ONNX Runtime has it.

`tests/data` holds the tables that the header was written from. With the environment variable ORTX_OFFICIAL_INCLUDE set
to a folder that has ONNX Runtime's own onnxruntime_c_api.h (any release from 1.20 on), header and tables are compared
with that, too, as far as it goes.
"""

from __future__ import annotations

import csv
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import ortx

DATA = Path(__file__).parent / "data"
PACKAGE = Path(ortx.__file__).parent
HEADER = Path(ortx.get_include()) / "ortx_capi.h"
OFFICIAL_INCLUDE = os.environ.get("ORTX_OFFICIAL_INCLUDE")

STRICT = ("-Wall", "-Wextra", "-Werror", "-pedantic")

Check = Callable[..., None]


# --- reading the tables


@dataclass(frozen=True)
class Row:
    """One slot as the table has it."""

    slot: int
    name: str
    api_version: int
    return_type: str
    parameters: str
    deprecated: bool
    takes_path: bool  # one of the parameters is a wchar_t string on Windows


def table(name: str) -> list[dict[str, str]]:
    with (DATA / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


ROWS = [
    Row(
        slot=int(row["slot"]),
        name=row["name"],
        api_version=int(row["api_version"]),
        return_type=row["return_type"],
        parameters=row["params"],
        deprecated=row["deprecated"] == "yes",
        takes_path=row["ortchar_on_windows"] == "yes",
    )
    for row in table("ort_api_slots.csv")
]
ROW_OF = {row.name: row for row in ROWS}
ENUMERATORS = {row["enumerator"]: row for row in table("ort_enums.csv")}
ALLOCATOR = [row for row in table("ort_structs.csv") if row["struct"] == "OrtAllocator"]


# --- reading the header and its Cython twin


@dataclass(frozen=True)
class Function:
    """A typed slot."""

    name: str
    return_type: str
    parameters: str

    def pointer(self, call: str = "") -> str:
        return f"{self.return_type} ({call} *)({self.parameters})"


def one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


HEADER_TEXT = re.sub(r"/\*.*?\*/", " ", HEADER.read_text(encoding="utf-8"), flags=re.DOTALL)


def header_struct(name: str) -> list[str]:
    """Return the members of a struct of the header, without comments and semicolons."""
    match = re.search(rf"typedef struct {name} \{{(.*?)\}} {name};", HEADER_TEXT, re.DOTALL)
    assert match, f"no struct {name} in {HEADER.name}"
    return [one_line(member) for member in match[1].split(";") if member.strip()]


def header_functions(struct: str) -> Iterator[tuple[str, Function | None]]:
    """Yield the names of a struct's members in order, with the function if it is typed."""
    for member in header_struct(struct):
        if match := re.fullmatch(r"ORTX_SLOT\((\w+)\)", member):
            yield match[1], None
            continue
        match = re.fullmatch(r"(.+?) ?\( ?ORTX_CALL ?\* ?(\w+)\) ?\((.*)\)", member)
        assert match, f"cannot read the member {member!r} of {struct}"
        yield match[2], Function(match[2], match[1], match[3])


SLOTS = dict(header_functions("OrtApi"))
TYPED = {name: function for name, function in SLOTS.items() if function}
HEADER_ENUMS = {
    match[1]: re.findall(r"(\w+)[^,]*", match[2])
    for match in re.finditer(r"typedef enum (\w+) \{(.*?)\}", HEADER_TEXT, re.DOTALL)
}
VERSIONS = {name: int(value) for name, value in re.findall(r"#define (ORTX_\w*API_VERSION) (\d+)", HEADER_TEXT)}

PXD_TEXT = re.sub(r"#.*", "", (PACKAGE / "capi.pxd").read_text(encoding="utf-8"))


def pxd_block(kind: str, name: str) -> str:
    """Return the indented lines below `ctypedef KIND NAME:`."""
    match = re.search(rf"^( +)ctypedef {kind} {name}:\n((?:\1 +.*\n|\s*\n)+)", PXD_TEXT, re.MULTILINE)
    assert match, f"capi.pxd has no {kind} {name}"
    return match[2]


def pxd_functions(struct: str) -> list[tuple[Function, str]]:
    """Return the functions of a struct of capi.pxd in order, each with what follows its parameters."""
    declaration = r"(\S[^()]*?) ?\(\*(\w+)\)\(([^()]*)\)([^()]*?)(?=\n *\S[^()]*\(\*|\Z)"
    return [
        (Function(match[2], one_line(match[1]), one_line(match[3])), one_line(match[4]))
        for match in re.finditer(declaration, pxd_block("struct", struct))
    ]


# --- asking a compiler


@pytest.fixture
def compiles(c_compiler: list[str], tmp_path: Path) -> Check:
    """Fail unless the compiler accepts the source; a failed assertion in it says which one."""

    def compiles(source: str, *arguments: str) -> None:
        done = run_compiler(c_compiler, tmp_path, source, arguments)
        assert done.returncode == 0, done.stderr[:4000]

    return compiles


def run_compiler(
    command: list[str], folder: Path, source: str, arguments: Iterable[str]
) -> subprocess.CompletedProcess[str]:
    file = folder / "check.c"
    file.write_text(source, encoding="utf-8")
    return subprocess.run(
        [*command, "-fsyntax-only", *arguments, file],
        capture_output=True,
        text=True,
        env=os.environ | {"LC_ALL": "C"},
    )


@pytest.fixture
def cxx_dialect(c_compiler: list[str], tmp_path: Path) -> list[str]:
    """Return the arguments that turn the C compiler into one for C++."""
    arguments = ["-x", "c++", "-std=c++17"]
    if run_compiler(c_compiler, tmp_path, "namespace nothing {}", arguments).returncode != 0:
        pytest.skip(f"needs C++: {c_compiler[0]} cannot compile it here")
    return arguments


C_DIALECT = ("-std=c11", *STRICT, "-I", ortx.get_include())


def assertion(condition: str, message: str) -> str:
    return f'_Static_assert({condition}, "{message}");'


def layout_assertions() -> Iterator[str]:
    """Everything about sizes, offsets and values that holds in C and in C++."""
    for row in ROWS:
        yield assertion(
            f"offsetof(OrtApi, {row.name}) == {row.slot} * sizeof(void*)",
            f"{row.name}: slot {row.slot}",
        )
    yield assertion(f"sizeof(OrtApi) == {len(ROWS)} * sizeof(void*)", "size of OrtApi")
    yield assertion("offsetof(OrtApiBase, GetApi) == 0", "OrtApiBase.GetApi")
    yield assertion("offsetof(OrtApiBase, GetVersionString) == sizeof(void*)", "OrtApiBase.GetVersionString")
    yield assertion("sizeof(OrtApiBase) == 2 * sizeof(void*)", "size of OrtApiBase")
    for row in ALLOCATOR:
        offset = f"{row['field_index']} * sizeof(void*)"
        yield assertion(f"offsetof(OrtAllocator, {row['field']}) == {offset}", f"OrtAllocator.{row['field']}")
        yield assertion(
            f"sizeof(void*) != 8 || offsetof(OrtAllocator, {row['field']}) == {row['offset_x86_64']}",
            f"OrtAllocator.{row['field']} in 64 bits",
        )
    yield assertion(f"sizeof(OrtAllocator) == {len(ALLOCATOR)} * sizeof(void*)", "size of OrtAllocator")
    for enum, names in HEADER_ENUMS.items():
        for name in names:
            yield assertion(f"{name} == {ENUMERATORS[name]['value']}", f"value of {name}")
            yield assertion(f"sizeof({enum}) == {ENUMERATORS[name]['sizeof']}", f"size of {enum}")


def type_assertion(name: str, pointer: str, source: str, struct: str = "OrtApi") -> str:
    member = f"__typeof__((({struct}*)0)->{name})"
    return assertion(f"__builtin_types_compatible_p({member}, {pointer})", f"{name}: type as in {source}")


def type_assertions() -> Iterator[str]:
    """Everything about types that ortx relies on."""
    for name in TYPED:
        row = ROW_OF[name]
        yield type_assertion(name, f"{row.return_type} (ORTX_CALL *)({row.parameters})", "the table")
    yield type_assertion("GetApi", "const OrtApi* (ORTX_CALL *)(uint32_t)", "the table", "OrtApiBase")
    yield type_assertion("GetVersionString", "const char* (ORTX_CALL *)(void)", "the table", "OrtApiBase")
    members = header_struct("OrtAllocator")
    for row in ALLOCATOR:
        if f"ORTX_SLOT({row['field']})" not in members:
            yield type_assertion(row["field"], row["type"], "the table", "OrtAllocator")


# --- the header against the tables


def test_the_table_of_slots_has_no_gap():
    assert [row.slot for row in ROWS] == list(range(425))
    assert len(ROW_OF) == len(ROWS)


def test_the_header_names_every_slot_in_the_tables_order():
    assert list(SLOTS) == [row.name for row in ROWS]


def test_the_header_says_which_api_version_brought_each_slot():
    sections = re.split(r"/\* API version (\d+)\b[^/]*\*/", HEADER.read_text(encoding="utf-8"))
    said = {
        name: int(version)
        for version, section in zip(sections[1::2], sections[2::2], strict=True)
        for name in re.findall(r"ORTX_SLOT\((\w+)\)|ORTX_CALL \*(\w+)\)", section.split("} OrtApi;")[0])
        for name in name
        if name
    }
    assert said == {row.name: row.api_version for row in ROWS}


def test_the_newest_and_the_oldest_version_of_the_header_are_in_the_table():
    assert VERSIONS["ORTX_API_VERSION"] == max(row.api_version for row in ROWS)
    assert VERSIONS["ORTX_OLDEST_API_VERSION"] in {row.api_version for row in ROWS}


def test_the_header_has_all_values_of_each_enumeration():
    said = {enum: [name for name, row in ENUMERATORS.items() if row["enum"] == enum] for enum in HEADER_ENUMS}
    assert said == HEADER_ENUMS
    assert "OrtErrorCode" in said


def test_every_slot_stands_in_its_place_in_c(compiles):
    compiles("\n".join(['#include "ortx_capi.h"', *layout_assertions()]), *C_DIALECT)


def test_every_slot_stands_in_its_place_in_cxx(compiles, cxx_dialect):
    lines = [line.replace("_Static_assert", "static_assert") for line in layout_assertions()]
    compiles(
        "\n".join(['#include "ortx_capi.h"', *lines]),
        *cxx_dialect,
        *STRICT,
        "-I",
        ortx.get_include(),
    )


@pytest.mark.parametrize("language", ["c", "c++"])
def test_the_header_needs_nothing_but_itself(compiles, request, language):
    dialect = C_DIALECT if language == "c" else (*request.getfixturevalue("cxx_dialect"), *STRICT)
    twice = '#include "ortx_capi.h"\n#include "ortx_capi.h"\nextern int something;\n'
    compiles(twice, *dialect, "-I", ortx.get_include())


def test_the_header_has_no_word_that_strict_cxx_lacks():
    # gcc knows it in C++ all the same, so compiling there does not tell.
    assert not re.search(r"\b_Bool\b", HEADER_TEXT), "write bool, which stdbool.h gives to C"


def test_every_typed_slot_has_the_type_that_the_table_says(compiles):
    # ORTCHAR_T is char here; where it has to stand is another test's business.
    compiles("\n".join(['#include "ortx_capi.h"', *type_assertions()]), *C_DIALECT)


@pytest.mark.parametrize(
    ("right", "wrong", "noticed"),
    [
        ("ORTX_SLOT(KernelInfoGetAttribute_float);", "", "KernelInfoGetAttribute_float"),
        (
            "ORTX_SLOT(KernelContext_GetInputCount);\n  ORTX_SLOT(KernelContext_GetOutputCount);",
            "ORTX_SLOT(KernelContext_GetOutputCount);\n  ORTX_SLOT(KernelContext_GetInputCount);",
            "KernelContext_GetInputCount: slot 88",
        ),
        ("} OrtApi;", "ORTX_SLOT(OneMore);\n} OrtApi;", "size of OrtApi"),
        ("ORT_ENABLE_LAYOUT = 3", "ORT_ENABLE_LAYOUT = 4", "value of ORT_ENABLE_LAYOUT"),
        ("  uint32_t version;\n", "", "OrtAllocator"),
        ("(const OrtStatus* status)", "(OrtStatus* status)", "GetErrorCode: type as in the table"),
        ("SessionGetInputCount)(const", "SessionGetInputCount)(", "SessionGetInputCount: type"),
        ("ReleaseValue)(OrtValue* input)", "ReleaseValue)(OrtStatus* input)", "ReleaseValue: type"),
    ],
    ids=[
        "slot missing",
        "slots swapped",
        "slot too many",
        "enumerator wrong",
        "allocator without version",
        "const missing",
        "const missing, too",
        "handle of another kind",
    ],
)
def test_a_header_with_a_mistake_would_be_noticed(c_compiler, tmp_path, right, wrong, noticed):
    text = HEADER.read_text(encoding="utf-8")
    assert right in text
    (tmp_path / HEADER.name).write_text(text.replace(right, wrong, 1), encoding="utf-8")
    source = "\n".join([f'#include "{HEADER.name}"', *layout_assertions(), *type_assertions()])
    done = run_compiler(c_compiler, tmp_path, source, ["-std=c11", "-I", str(tmp_path)])
    assert done.returncode != 0
    assert noticed in done.stderr


@pytest.mark.parametrize("name", [name for name in TYPED if ROW_OF[name].takes_path])
def test_a_path_is_a_string_of_ortchar(name):
    assert "ORTCHAR_T*" in TYPED[name].parameters + TYPED[name].return_type


def test_what_is_no_path_is_not_a_string_of_ortchar():
    others = {name for name in TYPED if "ORTCHAR_T" in TYPED[name].parameters + TYPED[name].return_type}
    assert others == {name for name in TYPED if ROW_OF[name].takes_path}


def test_no_deprecated_slot_can_be_called():
    assert not [name for name in TYPED if ROW_OF[name].deprecated]


# --- capi.pxd against the header


def as_cython(text: str) -> str:
    """Spell a C type as capi.pxd does."""
    text = re.sub(r"\b(?:_Bool|bool)\b", "bint", text)
    text = re.sub(r"\benum (?=\w)", "", text)  # one enumeration has no name without it in the official header
    text = re.sub(r" (\w+)\[\]", r"* \1", text)
    return re.sub(r"\s*((?:\*\s*)+)", lambda stars: stars[1].replace(" ", "") + " ", text).strip()


@pytest.mark.parametrize("struct", ["OrtApi", "OrtApiBase"])
def test_capi_pxd_declares_the_typed_slots_in_the_headers_order(struct):
    typed = [function for _, function in header_functions(struct) if function]
    assert [function.name for function, _ in pxd_functions(struct)] == [function.name for function in typed]


@pytest.mark.parametrize("struct", ["OrtApi", "OrtApiBase"])
def test_capi_pxd_spells_every_type_as_the_header_does(struct):
    typed = [function for _, function in header_functions(struct) if function]
    said = {
        function.name: (as_cython(function.return_type), as_cython(function.parameters))
        for function, _ in pxd_functions(struct)
    }
    assert said == {
        function.name: (
            as_cython(function.return_type),
            as_cython(re.sub(r"^void$", "", function.parameters)),
        )
        for function in typed
    }


@pytest.mark.parametrize("struct", ["OrtApi", "OrtApiBase"])
def test_every_function_of_capi_pxd_is_noexcept_nogil(struct):
    assert pxd_functions(struct)
    assert {function.name: words for function, words in pxd_functions(struct) if words != "noexcept nogil"} == {}


def test_every_function_type_of_capi_pxd_is_noexcept_nogil():
    declarations = re.findall(r"^ +ctypedef [^\n:]*\(\*(\w+)\)\(([^()]*)\)([^\n]*)", PXD_TEXT, re.MULTILINE)
    assert {name for name, _, _ in declarations} >= {"OrtLoggingFunction", "OrtGetApiBaseFunction"}
    assert {name: words for name, _, words in declarations if words.strip() != "noexcept nogil"} == {}


def test_capi_pxd_has_the_headers_enumerators():
    assert HEADER_ENUMS
    assert {enum: pxd_block("enum", enum).split() for enum in HEADER_ENUMS} == HEADER_ENUMS
    assert set(re.findall(r"ctypedef enum (\w+)", PXD_TEXT)) == set(HEADER_ENUMS)


# --- the core against capi.pxd


def uncommented(file: Path) -> list[str]:
    """Return the lines of a Cython file without comments, in which slots may be named."""
    return [re.sub(r"(?:^|\s)#.*", "", line) for line in file.read_text(encoding="utf-8").splitlines()]


PARTS = {file.name: uncommented(file) for file in sorted((PACKAGE / "_core.src").glob("*.pxi"))}
USE = re.compile(r"\b(?:api|table|base)\.([A-Z]\w+)")


def uses() -> Iterator[tuple[str, int, str]]:
    """Yield (part, line number from 0, slot) for every use of a slot in the core."""
    for part, lines in PARTS.items():
        for number, line in enumerate(lines):
            for match in USE.finditer(line):
                yield part, number, match[1]


def indentation(line: str) -> int:
    return len(line) - len(line.lstrip())


def function_around(lines: list[str], number: int) -> str:
    """Return the text of the function that a line is in, its heading included."""
    first, inner = number, indentation(lines[number])
    while first > 0 and not (
        indentation(lines[first]) < inner and re.match(r"\s*(?:cdef|cpdef|def)\b.*\(", lines[first])
    ):
        if lines[first].strip():
            inner = min(inner, max(indentation(lines[first]), 1))
        first -= 1
    last = first + 1
    while last < len(lines) and (not lines[last].strip() or indentation(lines[last]) > indentation(lines[first])):
        last += 1
    return "\n".join(lines[first:last])


def test_every_slot_that_is_declared_is_called():
    called = {slot for _, _, slot in uses()}
    unused = [name for name in TYPED if name not in called]
    assert not unused, f"declared, but never called in _core.src: {', '.join(unused)}"


def test_a_slot_that_the_oldest_library_lacks_is_called_only_after_a_look_at_the_version():
    newer = [
        (part, number, slot)
        for part, number, slot in uses()
        if slot in ROW_OF and ROW_OF[slot].api_version > VERSIONS["ORTX_OLDEST_API_VERSION"]
    ]
    assert newer, "this test has nothing to look at any more"
    unguarded = [
        f"{part}:{number + 1}: {slot} (API version {ROW_OF[slot].api_version})"
        for part, number, slot in newer
        if not re.search(r"\b(?:api_version|require_version)\b", function_around(PARTS[part], number))
    ]
    assert unguarded == []


# --- against the official header


@pytest.fixture
def official() -> str:
    """Return the text of the official header."""
    if not OFFICIAL_INCLUDE:
        pytest.skip("needs ORTX_OFFICIAL_INCLUDE, the folder of the official onnxruntime_c_api.h; it is not set")
    header = Path(OFFICIAL_INCLUDE, "onnxruntime_c_api.h")
    assert header.is_file(), f"ORTX_OFFICIAL_INCLUDE: there is no {header}"
    return header.read_text(encoding="utf-8")


@pytest.fixture
def official_version(official: str) -> int:
    match = re.search(r"#define ORT_API_VERSION (\d+)", official)
    assert match
    return int(match[1])


def compile_with_official(compiles: Check, assertions: Iterable[str]) -> None:
    assert OFFICIAL_INCLUDE
    lines = [
        "#include <stdbool.h>",
        "#include <stddef.h>",
        "#include <onnxruntime_c_api.h>",
        *assertions,
    ]
    compiles("\n".join(lines), "-std=c11", "-isystem", OFFICIAL_INCLUDE)


def test_the_official_header_has_every_slot_in_the_same_place(compiles, official_version):
    rows = [row for row in ROWS if row.api_version <= official_version]
    assert len(rows) >= 285
    assertions = [
        assertion(
            f"offsetof(OrtApi, {row.name}) == {row.slot} * sizeof(void*)",
            f"{row.name}: slot {row.slot}",
        )
        for row in rows
    ]
    if official_version <= VERSIONS["ORTX_API_VERSION"]:
        assertions.append(assertion(f"sizeof(OrtApi) == {len(rows)} * sizeof(void*)", "size of OrtApi"))
    compile_with_official(compiles, assertions)


def test_the_official_header_has_the_types_of_our_typed_slots(compiles, official_version):
    functions = [function for name, function in TYPED.items() if ROW_OF[name].api_version <= official_version]
    assert functions
    compile_with_official(
        compiles,
        [
            *(type_assertion(function.name, function.pointer("ORT_API_CALL"), HEADER.name) for function in functions),
            *(
                type_assertion(name, function.pointer("ORT_API_CALL"), HEADER.name, "OrtApiBase")
                for name, function in header_functions("OrtApiBase")
                if function
            ),
        ],
    )


def test_the_official_header_has_the_types_of_the_table(compiles, official_version):
    compile_with_official(
        compiles,
        [
            type_assertion(row.name, f"{row.return_type} (ORT_API_CALL *)({row.parameters})", "the table")
            for row in ROWS
            if row.api_version <= official_version
        ],
    )


def test_the_official_header_has_our_enumerators_allocator_and_logging_function(compiles, official_version):
    def known(first: str) -> bool:
        # "<=1.17", "1.23", or "1.25..1.29": somewhere in between, so known for certain in the last one only
        return int(first.rsplit(".", 1)[1]) <= official_version

    names = [name for names in HEADER_ENUMS.values() for name in names if known(ENUMERATORS[name]["first_header"])]
    assert len(names) > 50
    logging_function = re.search(
        r"typedef void\(ORTX_CALL \* OrtLoggingFunction\)\s*\((.*?)\);", HEADER_TEXT, re.DOTALL
    )
    assert logging_function
    compile_with_official(
        compiles,
        [
            *(assertion(f"{name} == {ENUMERATORS[name]['value']}", f"value of {name}") for name in names),
            *(
                type_assertion(row["field"], row["type"], "the table", "OrtAllocator")
                for row in ALLOCATOR
                if known(row["first_header_or_version_gate"]) and row["field"] != "version"
            ),
            assertion(
                "__builtin_types_compatible_p(OrtLoggingFunction, "
                f"void (ORT_API_CALL *)({one_line(logging_function[1])}))",
                "type of OrtLoggingFunction",
            ),
        ],
    )


def test_a_path_in_the_official_header_is_where_the_table_says(c_compiler, official, official_version, tmp_path):
    """Let the preprocessor put another word for ORTCHAR_T, and see in which slots it turns up."""
    marked = tmp_path / "include"
    shutil.copytree(Path(OFFICIAL_INCLUDE or ""), marked)
    text = re.sub(r"#define ORTCHAR_T \w+", "#define ORTCHAR_T path_character", official)
    (marked / "onnxruntime_c_api.h").write_text(text, encoding="utf-8")
    file = tmp_path / "check.c"
    file.write_text("#include <stddef.h>\n#include <onnxruntime_c_api.h>\n", encoding="utf-8")
    done = subprocess.run(
        [*c_compiler, "-E", "-P", "-isystem", marked, file],
        capture_output=True,
        text=True,
        check=True,
    )
    match = re.search(r"\bstruct OrtApi \{(.*?)\n?\};", done.stdout, re.DOTALL)
    assert match
    found = {
        name
        for member in match[1].split(";")
        if "path_character" in member
        for name in re.findall(r"\( ?\* ?(\w+)\) ?\(", member)
    }
    assert found == {row.name for row in ROWS if row.takes_path and row.api_version <= official_version}
