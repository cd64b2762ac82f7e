"""Reading ONNX Runtime's profiles: `ortx.profiling`."""

from __future__ import annotations

import builtins
import dataclasses
import importlib
import io
import json
import os
import re
from pathlib import Path

import models
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from test_async import in_threads

import ortx
from ortx import profiling

X = np.full((64, 64), 0.01, np.float32)


def perceptron() -> bytes:
    """Two layers, whose activation function is a node of its own"""
    weights = np.full((64, 64), 0.01, np.float32)
    return models.build(
        [
            helper.make_node("MatMul", ["x", "w1"], ["h"], name="first"),
            helper.make_node("Sigmoid", ["h"], ["a"], name="activation"),
            helper.make_node("MatMul", ["a", "w2"], ["y"], name="second"),
        ],
        [models.tensor("x", shape=("n", 64))],
        [models.tensor("y", shape=("n", 64))],
        [models.constant("w1", weights), models.constant("w2", weights)],
    )


def looping() -> bytes:
    """y = relu(x + x * n) in a loop, whose body is an addition"""
    body = helper.make_graph(
        [
            helper.make_node("Add", ["v", "x"], ["w"], name="addition"),
            helper.make_node("Identity", ["go_on"], ["goes_on"], name="condition"),
        ],
        "body",
        [models.tensor("i", "int64", ()), models.tensor("go_on", "bool", ()), models.tensor("v", shape=None)],
        [models.tensor("goes_on", "bool", ()), models.tensor("w", shape=None)],
    )
    return models.build(
        [
            helper.make_node("Loop", ["n", "", "x"], ["z"], name="loop", body=body),
            helper.make_node("Relu", ["z"], ["y"], name="outside"),
        ],
        [models.tensor("x"), models.tensor("n", "int64", ())],
        [models.tensor("y")],
    )


@pytest.fixture
def record(tmp_path):
    """Return the name of the profile of a session: `record(model, run)`, with `run(session)`."""

    def record(model: bytes, run, **options) -> str:
        with ortx.session_from_bytes(model, options, profile_file_prefix=tmp_path / "profile") as session:
            run(session)
            return session.end_profiling()

    return record


@pytest.fixture
def file(tmp_path):
    """Return the name of a file with a text."""

    def file(text: str | bytes) -> Path:
        path = tmp_path / "profile.json"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return file


def three_runs(session: ortx.Session) -> None:
    for _ in range(3):
        session.run([X])


def event(name: str, start: int, duration: int, thread: int = 1, **args: object) -> dict[str, object]:
    """Make an event of a node, as ONNX Runtime writes it."""
    args = {"op_name": name.capitalize(), "provider": "CPUExecutionProvider", "node_index": "0"} | args
    return {
        "cat": "Node",
        "pid": 1,
        "tid": thread,
        "dur": duration,
        "ts": start,
        "ph": "X",
        "name": f"{name}_kernel_time",
        "args": args,
    }


def written(*events: dict[str, object]) -> str:
    """Write events as ONNX Runtime does."""
    return "[\n" + ",\n".join(map(json.dumps, events)) + "\n]\n"


# --- real profiles


def test_a_profile_says_how_often_each_node_ran_and_on_what(record):
    profile = profiling.read(record(perceptron(), three_runs, config_entries={"session.disable_prepacking": "1"}))
    nodes = {node.name: node for node in profile.nodes}
    assert set(nodes) == {"first", "activation", "second"}
    assert [(nodes[name].operator, nodes[name].calls) for name in ("first", "activation")] == [
        ("MatMul", 3),
        ("Sigmoid", 3),
    ]
    first = nodes["first"]
    assert (first.provider, first.has_varied) == ("CPUExecutionProvider", False)
    assert (first.inputs, first.outputs) == (("float (64, 64)",) * 2, ("float (64, 64)",))
    assert (first.output_bytes, first.activation_bytes, first.parameter_bytes) == (16384, 16384, 16384)
    assert len(first.threads) == 1
    assert profile.is_complete


def test_operators_sum_up_their_nodes(record):
    profile = profiling.read(record(perceptron(), three_runs))
    operators = {operator.name: operator for operator in profile.operators}
    assert {name: (found.nodes, found.calls) for name, found in operators.items()} == {
        "MatMul": (2, 6),
        "Sigmoid": (1, 3),
    }
    for operator in profile.operators:
        nodes = [node for node in profile.nodes if node.operator == operator.name]
        assert operator.seconds == pytest.approx(sum(node.seconds for node in nodes))
        assert operator.own_seconds == pytest.approx(sum(node.own_seconds for node in nodes))
        assert operator.mean_seconds == pytest.approx(operator.seconds / operator.calls)
        assert operator.maximum_seconds == max(node.maximum_seconds for node in nodes)
        assert operator.minimum_seconds == min(node.minimum_seconds for node in nodes)
    assert sum(operator.share for operator in profile.operators) == pytest.approx(1)
    own = [operator.own_seconds for operator in profile.operators]
    assert own == sorted(own, reverse=True)


def test_runs_and_the_opening_of_the_session_are_told_apart(record):
    profile = profiling.read(record(perceptron(), three_runs))
    assert [run.name for run in profile.runs] == ["model_run"] * 3
    assert {span.name for span in profile.opening} == {"model_loading_array", "session_initialization"}
    starts = [run.start for run in profile.runs]
    assert starts == sorted(starts)
    for call in profile.calls:
        assert sum(run.start <= call.start <= run.start + run.seconds for run in profile.runs) == 1
    assert repr(profile).endswith("3 runs, 3 nodes, 9 calls>")


def test_time_inside_of_a_loop_is_counted_once(record):
    x = np.ones((30000, 2), np.float32)
    profile = profiling.read(record(looping(), lambda session: session.run([x, np.array(50)])))
    nodes = {node.name: node for node in profile.nodes}
    loop, addition, outside = nodes["loop"], nodes["addition"], nodes["outside"]
    assert (loop.calls, addition.calls, outside.calls) == (1, 50, 1)
    inside = addition.seconds + nodes["condition"].seconds
    assert loop.seconds > inside > 0
    assert loop.own_seconds == pytest.approx(loop.seconds - inside)
    assert sum(node.own_seconds for node in profile.nodes) == pytest.approx(loop.seconds + outside.seconds)
    assert {call.depth for call in profile.calls if call.node == "addition"} == {1}
    assert {call.depth for call in profile.calls if call.node in ("loop", "outside")} == {0}


@pytest.mark.parametrize(
    "options", [{"execution_mode": "parallel", "inter_op_num_threads": 2}, {}], ids=["parallel", "sequential"]
)
def test_runs_of_several_threads_are_read(record, options):
    def run(session: ortx.Session) -> None:
        in_threads(4, lambda number: [session.run([X[: number + 1]]) for _ in range(5)])

    profile = profiling.read(record(perceptron(), run, **options))
    assert len(profile.runs) == 20
    assert {node.name: node.calls for node in profile.nodes} == {"first": 20, "activation": 20, "second": 20}
    assert all(node.has_varied for node in profile.nodes)
    assert all(len(node.threads) >= 1 for node in profile.nodes)
    assert {node.output_bytes for node in profile.nodes} == {4 * 64 * 4}
    if not options:
        assert {call.thread for call in profile.calls} == {run.thread for run in profile.runs}


def test_names_with_any_characters_come_back(record):
    name = 'a "b" \\c\nü'
    model = models.build(
        [helper.make_node("Relu", ["x"], ["y"], name=name)], [models.tensor("x")], [models.tensor("y")]
    )
    profile = profiling.read(record(model, lambda session: session.run([X[:, :2].copy()])))
    assert [node.name for node in profile.nodes] == [name]


@pytest.mark.parametrize("version", ["1.20.1", "1.24.1"])
def test_profiles_of_older_versions_are_read(run_python, runtime_wheel, tmp_path, version):
    (tmp_path / "model.onnx").write_bytes(perceptron())
    code = """
import sys
import numpy as np
import ortx
session = ortx.session(sys.argv[1], profile_file_prefix=sys.argv[2])
session.run([np.ones((3, 64), np.float32)])
profile = ortx.profiling.read(session.end_profiling())
print(sorted((node.name, node.operator, node.calls, node.outputs) for node in profile.nodes), len(profile.runs))
"""
    done = run_python(code, tmp_path / "model.onnx", tmp_path / "profile", ORTX_LIBRARY=runtime_wheel(version))
    outputs = ("float (3, 64)",)
    expected = [
        ("activation", "Sigmoid", 1, outputs),
        ("first", "MatMul", 1, outputs),
        ("second", "MatMul", 1, outputs),
    ]
    assert (done.stdout.strip(), done.stderr) == (f"{expected} 1", "")


def test_reading_needs_neither_a_runtime_nor_other_packages(run_python, record):
    done = run_python(
        """
import sys
import ortx
profile = ortx.profiling.read(sys.argv[1])
print(len(profile.calls), sorted({"matplotlib", "onnxruntime", "rich", "pandas"} & set(sys.modules)))
""",
        record(perceptron(), three_runs),
        ORTX_LIBRARY="/nowhere",
    )
    assert (done.stdout, done.stderr) == ("9 []\n", "")


# --- what is wrong with a file


def test_of_a_profile_that_was_cut_off_what_is_there_is_read(record, file):
    text = Path(record(perceptron(), three_runs)).read_bytes()
    whole = len(profiling.read(file(text)).calls)
    assert whole == 9
    found = set()
    for size in range(2, len(text) - 2, 97):
        profile = profiling.read(file(text[:size]))
        assert not profile.is_complete
        assert repr(profile).endswith("cut off>")
        found.add(len(profile.calls))
    assert found == set(range(10))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty: ONNX Runtime writes it when session.end_profiling"),
        ("hello", "is no JSON"),
        (b"\xff\x00\x01", "is no JSON"),
        ("{}", "is no list of events"),
        ("[]", "has no event of ONNX Runtime's"),
        ("[\n]\n", "has no event of ONNX Runtime's"),
        ("[1, 2]", "has no event of ONNX Runtime's in event 0"),
        ('[\n{"cat": "Node"},\n]\n', "has no event of ONNX Runtime's in line 2"),
        (written(event("add", 1, 2, op_name="Add", node_index="x")), "in line 2"),
        ("[\nhello\n]\n", "has no JSON in line 2"),
    ],
)
def test_what_is_no_profile_is_refused(file, content, message):
    with pytest.raises(ortx.InvalidArgument) as caught:
        profiling.read(file(content))
    assert "profile.json" in str(caught.value)
    assert message in str(caught.value)
    assert "end_profiling()" in str(caught.value)


WRONG_EVENTS = {
    "an infinite duration": {"dur": float("inf")},
    "no number": {"ts": float("nan")},
    "a start too large for a float": {"ts": 10**400},
    "a duration that is a list": {"dur": [1]},
    "a name that is a number": {"cat": "Session", "name": 5},
    "no name": {"name": None},
    "no category": None,
    "a thread that is a list": {"tid": [1]},
    "a thread that is a word": {"tid": "main"},
    "arguments that are a list": {"args": [1]},
    "an operator that is a list": {"op_name": ["Add"]},
    "a provider that is a number": {"provider": 7},
    "an index that is infinite": {"node_index": float("inf")},
    "shapes that are numbers": {"input_type_shape": [1]},
    "shapes that are no list": {"output_type_shape": 5},
    "a shape that is a number": {"input_type_shape": [{"float": 5}]},
    "a size that is a word": {"input_type_shape": [{"float": ["n"]}]},
    "a size too large": {"output_size": "1" * 400},
}


@pytest.mark.parametrize("name", WRONG_EVENTS)
def test_an_event_with_something_wrong_is_found_by_its_line_or_number(file, name):
    good, wrong = event("add", 1, 2), event("mul", 3, 4)
    changes = WRONG_EVENTS[name]
    if changes is None:
        del wrong["cat"]
    for key, value in (changes or {}).items():
        (wrong if key in wrong else wrong["args"])[key] = value
    for content, where in (
        (written(good, wrong, good), "in line 3 "),
        (json.dumps({"traceEvents": [good, wrong]}), "in event 1 "),
    ):
        with pytest.raises(ortx.InvalidArgument, match=f"profile.json' has no event of ONNX Runtime's {where}"):
            profiling.read(file(content))


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_what_is_nested_deeply_is_refused(file, opening):
    deep = opening * 100_000
    for content, message in (
        (f'{{"traceEvents": {deep}', "is no JSON"),
        (f"[\n{deep}\n]\n", "has no JSON in line 2 "),
    ):
        with pytest.raises(ortx.InvalidArgument, match=message):
            profiling.read(file(content))


TOKENS = [
    b"1e400",
    b"-1e400",
    b"NaN",
    b"null",
    b"[]",
    b"{}",
    b'""',
    b"1" * 400,
    b"1" * 5000,
    b"\\u0000",
    b"\xff",
    b"\n",
]
TOKENS += [b"[" * 2000, b'{"a":' * 2000, b'"', b",", b":", b"-", b"\n]\n"]


@pytest.fixture(scope="module")
def real_profile(tmp_path_factory) -> bytes:
    with ortx.session_from_bytes(perceptron(), profile_file_prefix=tmp_path_factory.mktemp("p") / "real") as session:
        session.run([X])
        return Path(session.end_profiling()).read_bytes()


@settings(max_examples=300)
@given(data=st.data(), is_rewritten=st.booleans())
def test_of_a_damaged_profile_the_rest_is_read_or_an_error_of_ours_raised(
    real_profile, tmp_path_factory, data, is_rewritten
):
    content = real_profile
    if is_rewritten:
        content = json.dumps({"traceEvents": json.loads(content)}, separators=(",", ":")).encode()
    values = [*re.finditer(rb'(?<=:)\s*("[^"]*"|-?\d+|\[[^\]]*\]|\{)', content)]
    damage = st.one_of(
        st.tuples(st.integers(0, len(content)), st.integers(0, 80)),
        st.sampled_from(values).map(lambda found: (found.start(), len(found[0]))),
    )
    for start, size in data.draw(st.lists(damage, min_size=1, max_size=3)):
        content = content[:start] + data.draw(st.sampled_from(TOKENS) | st.binary(max_size=8)) + content[start + size :]
    path = tmp_path_factory.getbasetemp() / "damaged.json"
    path.write_bytes(content)
    try:
        said = json.dumps(profiling.read(path).asdict())
    except ortx.InvalidArgument as error:
        said = str(error)
    assert "damaged.json" in said


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a pipe with a name, and devices")
def test_what_is_no_regular_file_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path / "link", "/dev/zero", "/dev/null", tmp_path):
        with pytest.raises(ortx.InvalidArgument, match="cannot read .*: no regular file; expected a profile"):
            profiling.read(path)


def test_a_path_that_leads_nowhere_is_refused(tmp_path):
    with pytest.raises(ortx.NoSuchFile, match="there is no file .*missing.json"):
        profiling.read(tmp_path / "missing.json")
    with pytest.raises(ortx.InvalidArgument, match="cannot read"):
        profiling.read(tmp_path)
    with pytest.raises(ortx.InvalidArgument, match="cannot read .*null"):
        profiling.read("a\0b")
    with pytest.raises(ortx.InvalidType, match="got 7"):
        profiling.read(7)


def test_a_profile_of_a_session_that_still_records_is_empty(tmp_path):
    with ortx.session_from_bytes(perceptron(), profile_file_prefix=tmp_path / "profile") as session:
        session.run([X])
        (path,) = tmp_path.iterdir()
        with pytest.raises(ortx.InvalidArgument, match=r"empty: .* when session.end_profiling\(\) is called"):
            profiling.read(path)
        assert len(profiling.read(session.end_profiling()).calls) == 3


def test_what_another_program_wrote_anew_is_read(record, file):
    path = record(perceptron(), three_runs)
    expected = profiling.read(path)
    events = json.loads(Path(path).read_text(encoding="utf-8"))
    for content in (events, {"traceEvents": events, "displayTimeUnit": "ms"}):
        profile = profiling.read(file(json.dumps(content)))
        assert (profile.nodes, profile.runs, profile.is_complete) == (expected.nodes, expected.runs, True)


def test_events_of_other_kinds_are_passed_over(file):
    other = {"cat": "Kernel", "pid": 1, "tid": 1, "dur": 3, "ts": 2, "ph": "X", "name": "gemm", "args": {}}
    fence = event("add", 1, 1) | {"name": "add_fence_before", "args": {"op_name": "Add"}}
    profile = profiling.read(file(written(other, fence, event("add", 1, 2))))
    assert [call.node for call in profile.calls] == ["add"]


# --- times


def test_own_time_is_that_without_nodes_inside_on_the_same_thread(file):
    text = written(
        event("inner", 12, 3), event("innermost", 21, 2), event("inner", 20, 5), event("outer", 10, 20),
        event("other", 11, 4, thread=2), event("outer", 30, 7),
    )  # fmt: skip
    profile = profiling.read(file(text))
    own = {node.name: round(1e6 * node.own_seconds) for node in profile.nodes}
    assert own == {"outer": 12 + 7, "inner": 3 + 3, "innermost": 2, "other": 4}
    nodes = {node.name: node for node in profile.nodes}
    assert nodes["outer"].minimum_seconds == pytest.approx(7e-6)
    assert nodes["outer"].maximum_seconds == pytest.approx(20e-6)
    assert nodes["outer"].share == pytest.approx(19 / 31)
    assert [(call.node, call.depth) for call in profile.calls] == [
        ("outer", 0), ("other", 0), ("inner", 1), ("inner", 1), ("innermost", 2), ("outer", 0),
    ]  # fmt: skip


def test_nodes_that_took_no_whole_microsecond_have_a_share_nonetheless(file):
    profile = profiling.read(file(written(event("add", 5, 0), event("mul", 5, 0))))
    assert [(node.name, node.share, node.calls) for node in profile.nodes] == [("add", 0, 1), ("mul", 0, 1)]


def test_a_profile_becomes_json(record):
    profile = profiling.read(record(perceptron(), three_runs))
    content = json.loads(json.dumps(profile.asdict()))
    assert content["nodes"][0]["name"] == profile.nodes[0].name
    assert [row["calls"] for row in content["operators"]] == [row.calls for row in profile.operators]
    with pytest.raises(dataclasses.FrozenInstanceError):
        profile.path = ""


# --- shown


def test_print_shows_the_most_expensive_operators_and_nodes(record, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    profile = profiling.read(record(perceptron(), three_runs))
    profile.print(1)
    printed = capsys.readouterr().out
    assert "2 operators, 3 runs" in printed
    assert "3 nodes, 3 runs" in printed
    assert profile.operators[0].name in printed
    assert f"{profile.operators[0].share:.1%}" in printed
    assert profile.operators[1].name not in printed.replace(profile.nodes[0].operator, "")


def test_rich_shows_the_same_tables(record):
    from rich.console import Console

    profile = profiling.read(record(perceptron(), three_runs))
    console = Console(file=io.StringIO(), width=120)
    console.print(profile)
    assert all(node.name in console.file.getvalue() for node in profile.nodes)


@pytest.mark.parametrize("suffix", ["svg", "png"])
@pytest.mark.parametrize("model", ["perceptron", "looping", "no run"])
def test_plot_draws_a_picture(record, file, tmp_path, model, suffix):
    match model:
        case "perceptron":
            path = record(perceptron(), three_runs)
        case "looping":
            path = record(looping(), lambda session: session.run([X[:, :2].copy(), np.array(3)]))
        case _:
            path = file("[\n")
    profile = profiling.read(path)
    picture = tmp_path / f"picture.{suffix}"
    profile.plot(picture)
    content = picture.read_bytes()
    assert content.startswith(b"\x89PNG" if suffix == "png" else b"<?xml")
    if suffix == "svg":
        profile.plot(picture)
        assert picture.read_bytes() == content


def test_the_picture_has_a_bar_for_each_operator_and_a_row_for_each_thread_and_level(record, tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    figures = []
    monkeypatch.setattr(Figure, "savefig", lambda self, *arguments, **keywords: figures.append(self))
    profile = profiling.read(record(looping(), lambda session: session.run([X[:, :2].copy(), np.array(3)])))
    profile.plot(tmp_path / "picture.svg")
    profile.plot(tmp_path / "picture.svg", most=2, run=0)
    bars, timeline = figures[0].axes
    assert [label.get_text() for label in bars.get_yticklabels()] == [row.name for row in profile.operators]
    assert len(figures[1].axes[0].get_yticklabels()) == 2
    thread = profile.runs[0].thread
    assert [label.get_text() for label in timeline.get_yticklabels()] == [f"thread {thread}", "inside"]
    assert sum(len(collection.get_paths()) for collection in timeline.collections) == len(profile.calls)
    assert timeline.get_xlim()[1] == pytest.approx(1e3 * profile.runs[0].seconds)


def test_by_default_the_picture_shows_a_run_that_took_a_median_time(file, tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    titles = []
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *arguments, **keywords: titles.append(self.axes[1].get_title("left"))
    )
    runs = [
        {"cat": "Session", "tid": 1, "dur": duration, "ts": 1000 * number, "name": "model_run", "args": {}}
        for number, duration in enumerate([900, 10, 12])
    ]
    profile = profiling.read(file(written(*runs, event("add", 2001, 5))))
    profile.plot(tmp_path / "picture.svg")
    profile.plot(tmp_path / "picture.svg", run=1)
    assert [title.split(",")[0] for title in titles] == ["Run 2", "Run 1"]


@pytest.mark.parametrize("run", [3, -1, "0", True, 1.5])
def test_a_run_that_there_is_not_is_refused(record, tmp_path, run):
    profile = profiling.read(record(perceptron(), three_runs))
    with pytest.raises(ortx.InvalidArgument, match="expected the index of one of 3 runs"):
        profile.plot(tmp_path / "picture.svg", run=run)
    assert not (tmp_path / "picture.svg").exists()


def test_a_format_that_matplotlib_lacks_is_refused(record, tmp_path):
    profile = profiling.read(record(perceptron(), three_runs))
    with pytest.raises(ortx.InvalidArgument, match="picture.bmp2"):
        profile.plot(tmp_path / "picture.bmp2")


@pytest.mark.parametrize(("package", "show"), [("rich", "print"), ("matplotlib", "plot")])
def test_a_package_that_is_missing_is_named_with_what_installs_it(record, monkeypatch, tmp_path, package, show):
    real = builtins.__import__

    def without(name: str, *arguments: object, **keywords: object) -> object:
        if name.split(".")[0] == package:
            raise ImportError(name)
        return real(name, *arguments, **keywords)

    profile = profiling.read(record(perceptron(), three_runs))
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ortx.NotSupported) as caught:
        getattr(profile, show)(*([tmp_path / "picture.svg"] if show == "plot" else []))
    monkeypatch.undo()
    assert str(caught.value) == f'Profile.{show}: needs the package {package}: pip install "ortx[report]"'


def test_the_picture_of_the_page_is_made_by_the_command_that_it_names(tmp_path, monkeypatch, capsys):
    root = Path(__file__).parents[1]
    if not (root / "tools").is_dir():
        pytest.skip("needs the source tree: the tools are not here")
    monkeypatch.syspath_prepend(str(root))
    importlib.import_module("tools.make_profile_picture").main([str(tmp_path / "profile.svg")])
    assert (tmp_path / "profile.svg").read_bytes().startswith(b"<?xml")
    assert "Loop" in capsys.readouterr().out
    assert "python -m tools.make_profile_picture" in (root / "docs" / "observability.md").read_text(encoding="utf-8")
