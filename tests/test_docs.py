"""The pages in docs/: their examples run, their links lead somewhere, and no public name or option is missing."""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import json
import os
import pydoc
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import models
import onnx
import pytest
from onnx import TensorProto, helper

import ortx
from ortx import _core, coreml

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"

if not DOCS.is_dir():
    pytest.skip("needs the source tree: this ortx was installed without it", allow_module_level=True)

for package in ("griffe", "markdown_it"):
    pytest.importorskip(package, reason=f"needs the package {package} (dependency group docs)")

PAGES = sorted(file.name for file in DOCS.glob("*.md"))
MARKDOWN = importlib.import_module("markdown_it").MarkdownIt("commonmark").enable("table")


@pytest.fixture(scope="module")
def make_reference():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        yield importlib.import_module("tools.make_reference")


def text_of(page: str) -> str:
    return (DOCS / page).read_text(encoding="utf-8")


def guide_of(page: str) -> str:
    """Return what is written by hand."""
    return text_of(page).partition("\n<!-- Below this line: ")[0]


# --- the examples -----------------------------------------------------------------------------------------------------


def optional() -> bytes:
    """y = x if x is given, else zeros"""
    x = helper.make_optional_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, [2]))
    given, missing = (
        helper.make_graph([node], name, [], [models.tensor(name, shape=(2,))])
        for name, node in {
            "given": helper.make_node("OptionalGetElement", ["x"], ["given"]),
            "missing": helper.make_node("Constant", [], ["missing"], value=models.constant("zeros", [0.0, 0.0])),
        }.items()
    )
    return models.build(
        [
            helper.make_node("OptionalHasElement", ["x"], ["is_given"]),
            helper.make_node("If", ["is_given"], ["y"], then_branch=given, else_branch=missing),
        ],
        [onnx.helper.make_value_info("x", x)],
        [models.tensor("y", shape=(2,))],
    )


def weights() -> bytes:
    """y = x @ w, where w is an initializer"""
    return models.build(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        [models.tensor("x")],
        [models.tensor("y")],
        [models.constant("w", [[1.0, 2.0], [3.0, 4.0]])],
    )


def external() -> bytes:
    """The same, but w is in another file"""
    model = onnx.load_from_string(weights())
    (w,) = model.graph.initializer
    onnx.external_data_helper.set_external_data(w, "external.data", 0, len(w.raw_data))
    w.ClearField("raw_data")
    return model.SerializeToString()


FILES = {
    "model.onnx": models.add,
    "scale.onnx": models.overridable,
    "slow.onnx": lambda: models.slow(4000),
    "optional.onnx": optional,
    "weights.onnx": weights,
    "external.onnx": external,
    "external.data": lambda: onnx.load_from_string(weights()).graph.initializer[0].raw_data,
}

CUSTOM_OPS = """
__attribute__((visibility("default"))) void *RegisterCustomOps(void *options, const void *base) { return 0; }
"""


class Example(NamedTuple):
    """A block of Python on a page: the line where it starts, the source, and what it is to print."""

    line: int
    source: str
    printed: list[str]


def examples_of(page: str) -> Iterator[Example]:
    for token in MARKDOWN.parse(guide_of(page)):
        if token.type == "fence" and token.info == "python":
            assert token.map is not None
            yield Example(token.map[0] + 1, token.content, expected_output(token.content))


def expected_output(source: str) -> list[str]:
    """Return the comments behind the prints; where there is none, the lines of comment that follow."""
    expected = []
    wanted = False
    for line in source.splitlines():
        code, mark, comment = line.strip().partition("# ")
        if code.startswith("print("):
            wanted = not mark
            expected += [comment] if mark else []
        elif wanted and mark and not code:
            expected.append(comment)
        else:
            wanted = False
    return expected


RUNNER = r"""
import json, os, sys
folder, page, examples = sys.argv[1:]
os.chdir(folder)
printed = []
names = {"__name__": "__main__", "print": lambda *values: printed.append(" ".join(map(str, values)))}
for line, source, expected in json.loads(examples):
    printed.clear()
    exec(compile("\n" * line + source, page, "exec"), names)
    assert printed == expected, f"{page}, line {line}: printed {printed}, expected {expected}"
"""


@pytest.mark.parametrize("page", [page for page in PAGES if any(examples_of(page))])
def test_the_examples_of_a_page_run_and_print_what_they_say(page, run_python, tmp_path, request):
    for name, model in FILES.items():
        if name in text_of(page):
            (tmp_path / name).write_bytes(model())
    if any("my_ops.so" in example.source for example in examples_of(page)):
        library = request.getfixturevalue("compile_shared")(CUSTOM_OPS, "my_ops")
        os.replace(library, tmp_path / "my_ops.so")
    done = run_python(RUNNER, tmp_path, page, json.dumps(list(examples_of(page))))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_an_example_that_is_not_run_says_so_in_the_text():
    for page in PAGES:
        for token in MARKDOWN.parse(guide_of(page)):
            if token.type == "fence":
                assert token.info in ("", "python", "python no-run"), page
    assert [page for page in PAGES if "```python no-run" in text_of(page)] == ["providers.md"]


def test_the_files_of_the_examples_are_described():
    described = {cells[0] for cells in tables_of("index.md")["The files in the examples"]}
    assert described == {f"`{name}`" for name in [*FILES, "my_ops.so"]}


# --- headings, tables, links ------------------------------------------------------------------------------------------


def headings_of(page: str) -> list[str]:
    tokens = MARKDOWN.parse(text_of(page))
    return [
        "".join(child.content for child in tokens[i + 1].children or ())
        for i, token in enumerate(tokens)
        if token.type == "heading_open"
    ]


@functools.cache
def anchors_of(page: str) -> list[str]:
    """Return the anchors as GitHub makes them."""
    return [re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings_of(page)]


def links_of(page: str) -> Iterator[str]:
    for token in MARKDOWN.parse(text_of(page)):
        for child in token.children or ():
            if child.type == "link_open":
                yield str(child.attrs["href"])


def tables_of(page: str) -> dict[str, list[list[str]]]:
    """Return the rows of the tables of a page, without their titles, by the heading that they stand under."""
    tables: dict[str, list[list[str]]] = {}
    tokens = MARKDOWN.parse(text_of(page))
    heading = ""
    for i, token in enumerate(tokens):
        if token.type == "heading_open":
            heading = "".join(child.content for child in tokens[i + 1].children or ())
        elif token.type == "tbody_open":
            tables.setdefault(heading, [])
        elif token.type == "tr_open" and heading in tables:
            tables[heading].append([])
        elif token.type == "td_open":
            tables[heading][-1].append(tokens[i + 1].content)
    return tables


def code_in(cell: str) -> list[str]:
    """Return what a cell has in code spans."""
    (inline,) = (token for token in MARKDOWN.parse(cell) if token.type == "inline")
    return [child.content for child in inline.children or () if child.type == "code_inline"]


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page):
    for link in links_of(page):
        target, _, anchor = link.partition("#")
        assert not re.match(r"\w+:", link), f"{link}: a link out of the repository"
        assert (DOCS / target).exists(), link
        if anchor:
            assert anchor in anchors_of(target or page), link


@pytest.mark.parametrize("page", PAGES)
def test_no_two_headings_of_a_page_have_one_anchor(page):
    anchors = anchors_of(page)
    assert sorted(set(anchors)) == sorted(anchors)


def test_the_map_has_every_page():
    assert sorted({*links_of("index.md"), "index.md"}) == PAGES


# --- the reference ----------------------------------------------------------------------------------------------------


def test_the_reference_is_up_to_date():
    command = [sys.executable, "-m", "tools.make_reference", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_public_name_is_on_exactly_one_page(make_reference):
    assert make_reference.problems_of_the_pages(ortx.__all__, make_reference.PAGES, make_reference.PENDING) == []
    headings = [heading for page in PAGES for heading in headings_of(page)]
    for name in ortx.__all__:
        assert headings.count(make_reference.heading_of(name).strip("`").replace("`", "")) == 1, name


@pytest.mark.parametrize(
    ("public", "pages", "pending", "problem"),
    [
        (["a", "b"], {"p.md": ("a",)}, {}, "ortx.b is on no page"),
        (["a"], {"p.md": ("a",), "q.md": ("a",)}, {}, "ortx.a is on two pages, p.md and q.md"),
        (["a"], {"p.md": ("a", "b")}, {}, "ortx.b, which is to be on p.md, does not exist"),
        (["a", "b"], {"p.md": ("a",)}, {"q.md": ("b",)}, "ortx.b exists now: move it from PENDING to PAGES['q.md']"),
    ],
)
def test_a_name_that_is_not_on_one_page_is_reported(make_reference, public, pages, pending, problem):
    (found,) = make_reference.problems_of_the_pages(public, pages, pending)
    assert found.startswith(problem)


def test_what_the_pages_say_below_the_marker_is_all_that_is_generated(make_reference):
    for page in PAGES:
        assert (make_reference.MARKER in text_of(page)) == (page in make_reference.PAGES)
        comments = re.findall(r"<!--.*?-->", text_of(page), re.DOTALL)
        assert all(re.fullmatch(r"<!-- Below this line: written by .+; do not edit. -->", text) for text in comments)
        assert len(comments) == (page in make_reference.PAGES or page == "tuning.md")


# --- the guides say nothing that is not so ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("page", "heading", "options_class"),
    [
        ("runtime.md", "What holds for the whole process", _core.RuntimeConfiguration),
        ("session.md", "Options", _core.SessionOptions),
        ("run-options.md", "Run options", _core.RunOptionsTable),
    ],
)
def test_the_table_has_every_option(page, heading, options_class):
    described = [name for cells in tables_of(page)[heading] for name in code_in(cells[0]) if name.isidentifier()]
    fields = [name for name in options_class.fields if not name.startswith("coreml_")]
    assert sorted(described) == sorted({*fields, *(["keep_model"] if page == "session.md" else [])})


def test_the_table_has_every_coreml_field():
    assert [code_in(cells[0])[0] for cells in tables_of("providers.md")["CoreML"]] == list(coreml.FIELDS)


def test_the_tree_of_exceptions_is_the_one_of_the_classes():
    (tree,) = re.findall(r"```\n(RuntimeError\n.*?)```", text_of("errors.md"), re.DOTALL)
    parents = [RuntimeError]
    shown = set()
    for line in tree.splitlines()[1:]:
        branch, name, others = re.fullmatch(r"([│├└─ ]+)(\w+)(?: \((?:also )?(.+)\))?", line).groups()
        class_ = getattr(ortx, name)
        del parents[len(branch) // 4 :]
        words = (others or "").replace(",", "").split()
        bases = [parents[-1], *(getattr(ortx, word, None) or pydoc.locate(word) for word in words)]
        assert set(class_.__bases__) == set(bases), line
        parents.append(class_)
        shown.add(name)
    assert shown == {
        name
        for name in ortx.__all__
        if isinstance(getattr(ortx, name), type) and issubclass(getattr(ortx, name), ortx.Error)
    }


# --- the two documents that ortx was made from ------------------------------------------------------------------------

# What stands in the two documents, in their order: names in code, forms and rules in a few words.
SEEDS = {
    "Runtime configuration": [
        *("onnxruntime.configure(opts)", "log_severity_level", "log_id", "use_global_thread_pools"),
        *("global_intra_op_num_threads", "global_inter_op_num_threads"),
        *("called before any session", "called while a session is open"),
    ],
    "Making a session": [
        *("onnxruntime.session(model_path, opts)", "onnxruntime.session_from_bytes(model_bytes, opts)"),
        *("opts", "nil, err"),
    ],
    "Session options": [
        *("providers", "provider", '"cpu"', '"coreml"', "CPUExecutionProvider", "CoreMLExecutionProvider"),
        *("fallback_to_cpu", "intra_op_num_threads", "inter_op_num_threads", "log_id"),
        *("session_log_severity_level", "session_log_verbosity_level", "optimized_model_path", "profile_file_prefix"),
        *("free_dimension_overrides", '{by = "name", key, value}', '{by = "denotation", key, value}'),
        *("config_entries", "graph_optimization_level"),
        *(f'graph_optimization_level = "{level}"' for level in ("disable", "basic", "extended", "all")),
        *("execution_mode", 'execution_mode = "sequential"', 'execution_mode = "parallel"'),
        *("deterministic_compute", "disable_per_session_threads", "enable_cpu_mem_arena", "enable_mem_pattern"),
        *("custom_op_libraries", "a single path", "an array of paths", "a handle, or paths and handles mixed"),
        *("onnxruntime.load_custom_op_library(path)", "no providers, or an empty list"),
        *("CoreML cannot be used, with fallback", "CoreML cannot be used, without fallback"),
        'providers = {"coreml", "cpu"}',
    ],
    "CoreML provider fields": [
        "coreml_compute_units",
        *(f'coreml_compute_units = "{u}"' for u in ("all", "cpu_only", "cpu_and_gpu", "cpu_and_neural_engine")),
        *("CPUOnly", "CPUAndGPU", "CPUAndNeuralEngine", "MLComputeUnits..."),
        *("coreml_create_mlprogram", "coreml_require_static_input_shapes", "coreml_enable_on_subgraph"),
        *("coreml_flags", "coreml_use_cpu_only", "coreml_use_cpu_and_gpu", "coreml_only_enable_device_with_ane"),
        *("new and legacy fields mixed", "fields that contradict each other"),
        "coreml_only_enable_device_with_ane with cpu_only or cpu_and_gpu",
    ],
    "Basic inspection": [
        *("session:input_names()", "session:output_names()", "session:overridable_initializer_names()"),
        *("session:input_count()", "session:output_count()", "session:overridable_initializer_count()"),
    ],
    "Type information": [
        *("session:input_info(name_or_index)", "session:output_info(name_or_index)"),
        "session:overridable_initializer_info(name_or_index)",
        *("name", "onnx_type", "is_sparse", "data_type", "type", "has_shape", "shape", "symbolic_shape", "element"),
        *("key_type", "value", "fields that a type does not have"),
    ],
    "Memory information": [
        *("session:memory_info_for_inputs()", "session:memory_info_for_outputs()"),
        *("name", "id", "mem_type", "allocator_type", "device_type", "device_mem_type", "vendor_id"),
        "access by number and by name",
    ],
    "Metadata and lifecycle": [
        *("session:metadata()", "session:close()", "session:end_profiling()", "session:profiling_start_time_ns()"),
        *("session:set_ep_dynamic_options(opts)", "session:register_custom_op_library(path_or_handle)"),
    ],
    "Running": [
        *("session:run(inputs, output_names, run_options)", "session:run_into(inputs, outputs, run_options)"),
        *("session:run_with_iobinding(binding, run_options)", "inputs as an array or a dictionary"),
        "an array in model order, going on into overridable initializers",
        *("names of inputs or overridable initializers as keys", "optional inputs left out"),
        *("onnxruntime.optional(nil, type_info)", "onnxruntime.tensor(type, shape, values)", "tensor:to_table()"),
        *("outputs by number and by name", "the same object where run_into() got a tensor"),
    ],
    "Run options": [
        *("onnxruntime.run_options(opts)", "tag", "log_severity_level", "log_verbosity_level"),
        *("run_options:tag(value)", "run_options:log_severity_level(value)", "run_options:log_verbosity_level(value)"),
        *("run_options:terminate()", "run_options:reset_terminate()"),
    ],
    "IOBinding": [
        *("session:create_io_binding()", "binding:bind_input(name, value)", "an empty optional as input"),
        *('binding:bind_output("y")', 'binding:bind_output("y", existing_tensor)'),
        'binding:bind_output("y", {type = "float32", shape = {1, 2}})',
        'binding:bind_output("y", {mode = "device"})',
        *("binding:clear_inputs()", "binding:clear_outputs()", "binding:synchronize_inputs()"),
        *("binding:synchronize_outputs()", "binding:get_outputs()"),
    ],
    "C: sessions": [
        *("CreateSession", "CreateSessionFromArray", "CreateSessionWithPrepackedWeightsContainer", "ReleaseSession"),
        *("SessionGetInputCount", "SessionGetOutputCount", "SessionGetInputName", "SessionGetOutputName"),
        *("SessionGetInputTypeInfo", "SessionGetOutputTypeInfo", "ReleaseTypeInfo"),
        *("SessionGetOverridableInitializerCount", "env", "allocator", "DllMain"),
    ],
    "C: running": ["Run", "Run with outputs allocated before", "RunAsync"],
    "C: run options": [
        *("CreateRunOptions", "RunOptionsSetRunLogVerbosityLevel", "RunOptionsSetRunLogSeverityLevel"),
        *("RunOptionsSetRunTag", "RunOptionsSetTerminate", "RunOptionsUnsetTerminate", "AddRunConfigEntry"),
        *("onnxruntime_run_options_config_keys.h", "ReleaseRunOptions"),
    ],
    "C: IO binding": [
        *("CreateIoBinding", "BindInput", "BindOutput", "BindOutputToDevice", "RunWithBinding"),
        *("ClearBoundInputs", "ClearBoundOutputs", "ReleaseIoBinding"),
    ],
    "C: metadata and profiling": [
        *("SessionGetModelMetadata", "ModelMetadataGetProducerName", "ModelMetadataGetGraphName"),
        *("ModelMetadataGetVersion", "ModelMetadataLookupCustomMetadataMap", "ReleaseModelMetadata"),
        *("SessionEndProfiling", "EnableProfiling"),
    ],
}

OPTIONS_OF = {
    "ortx.configure": _core.RuntimeConfiguration,
    "ortx.session": _core.SessionOptions,
    "ortx.run_options": _core.RunOptionsTable,
}

OURS = sorted(
    {
        code
        for rows in tables_of("seeds.md").values()
        for cells in rows
        for code in code_in(cells[1])
        if code.startswith("ortx")
    }
)


@pytest.mark.parametrize("section", SEEDS)
def test_every_item_of_the_two_documents_is_in_the_table(section):
    assert [cells[0].replace("`", "") for cells in tables_of("seeds.md")[section]] == SEEDS[section]


def test_the_table_has_no_other_sections():
    assert list(tables_of("seeds.md")) == list(SEEDS)


@pytest.mark.parametrize("code", OURS)
def test_what_the_table_names_exists_and_takes_what_it_shows(code):
    expression = ast.parse(code, mode="eval").body
    call = expression if isinstance(expression, ast.Call) else None
    name = ast.unparse(call.func if call else expression)
    thing: object = ortx
    for part in name.split(".")[1:]:
        thing = getattr(thing, part)
    if call is None:
        return
    shown = {keyword.arg: keyword.value for keyword in call.keywords}
    if name not in OPTIONS_OF:
        inspect.signature(thing).bind(None, *call.args, **shown)
        return
    given = {key: value for key, value in shown.items() if not is_ellipsis(value)}
    fields = set(OPTIONS_OF[name].fields)
    assert set(shown) <= fields
    table = {key: ast.literal_eval(value) for key, value in given.items()}
    _core.read_table(OPTIONS_OF[name], name, table, {})


def is_ellipsis(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is ...


def test_no_cell_of_the_table_names_ours_without_its_module():
    for rows in tables_of("seeds.md").values():
        for cells in rows:
            assert len(cells) == 3
            assert all(code.startswith("ortx.") for code in code_in(cells[1])), cells
