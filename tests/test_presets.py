"""Presets of session options (`ortx/presets.py`): what they set, what wins over them, what the docs say of them."""

from __future__ import annotations

import ast
import json
import os
from pathlib import Path

import models
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ortx
from ortx import _core, cpus
from ortx.presets import PRESETS

PAGE = Path(__file__).parents[1] / "docs" / "tuning.md"
X = np.array([[1, 2]], np.float32)
INTRA, INTER = "session.intra_op.allow_spinning", "session.inter_op.allow_spinning"
EACH_PRESET = pytest.mark.parametrize("preset", PRESETS)

needs_task_folder = pytest.mark.skipif(
    not Path("/proc/self/task").is_dir(), reason="needs /proc/self/task, to count the threads of the process"
)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    path.write_bytes(models.square())
    return path


def said(source, *table, **given) -> dict[str, object]:
    """Return what a session with these options says that it runs with."""
    with ortx.session(source, *table, **given) as session:
        np.testing.assert_array_equal(session.run([X])["y"], X * X)
        return session.options()


def read(**given) -> _core.SessionOptions:
    return _core.read_session_options("ortx.session", given, {})


# --- what a preset sets


@EACH_PRESET
def test_a_preset_sets_what_its_table_says_and_nothing_else(model, preset, monkeypatch):
    monkeypatch.setattr(cpus, "available", lambda: 3)
    settings = dict(PRESETS[preset])
    expected = said(model) | settings | {"preset": preset}
    expected["intra_op_num_threads"] = settings["intra_op_num_threads"] or 3
    expected["max_concurrency"] = 3 // expected["intra_op_num_threads"]
    assert said(model, preset=preset) == expected
    assert said(model, {"preset": preset}) == expected
    with ortx.session_from_bytes(model.read_bytes(), preset=preset) as session:
        assert session.options() == expected
    assert session.options() == expected


@EACH_PRESET
def test_a_preset_is_short_for_the_options_in_its_table(preset):
    assert read(preset=preset).replace(preset=None) == read(**PRESETS[preset])


def test_all_presets_speak_about_the_same_options_and_no_two_say_the_same():
    assert len({tuple(settings) for settings in PRESETS.values()}) == 1
    assert len({tuple(settings["config_entries"]) for settings in PRESETS.values()}) == 1
    assert len({repr(settings) for settings in PRESETS.values()}) == len(PRESETS)


def test_no_preset_is_the_default(model):
    assert said(model)["preset"] is None
    assert said(model, preset=None) == said(model)


@needs_task_folder
def test_a_session_for_throughput_has_no_threads_of_its_own(model):
    before = set(os.listdir("/proc/self/task"))
    with ortx.session(model, preset="throughput") as session:
        session.run([X])
        assert set(os.listdir("/proc/self/task")) <= before


# --- what wins over it


@EACH_PRESET
@pytest.mark.parametrize("name", ["intra_op_num_threads", "enable_cpu_mem_arena", "enable_mem_pattern"])
@pytest.mark.parametrize("form", ["keyword", "mapping", "keyword over mapping"])
def test_what_is_given_wins_even_if_it_is_the_default(preset, name, form):
    default = getattr(_core.SessionOptions(), name)
    for value in (default, 5) if name == "intra_op_num_threads" else (True, False):
        other = 7 if name == "intra_op_num_threads" else not value
        table, keywords = {
            "keyword": ({"preset": preset}, {name: value}),
            "mapping": ({name: value, "preset": preset}, {}),
            "keyword over mapping": ({name: other, "preset": "latency"}, {name: value, "preset": preset}),
        }[form]
        resolved = _core.read_session_options("ortx.session", table, keywords)
        assert read(preset=preset).replace(**{name: value}) == resolved


@EACH_PRESET
def test_none_is_as_good_as_not_given(model, preset):
    others = [name for name in _core.SessionOptions.fields if name != "preset"]
    assert said(model, dict.fromkeys(others), preset=preset) == said(model, preset=preset)


@EACH_PRESET
@pytest.mark.parametrize("text", ["0", "1"])
def test_config_entries_win_one_by_one(model, preset, text):
    entries = {INTRA: text, "session.set_denormal_as_zero": "1"}
    found = said(model, preset=preset, config_entries=entries)["config_entries"]
    assert found == entries | {INTER: PRESETS[preset]["config_entries"][INTER]}
    assert said(model, preset=preset, config_entries={})["config_entries"] == PRESETS[preset]["config_entries"]


@EACH_PRESET
@pytest.mark.parametrize("key", ["session.intra_op.spin_duration_us", "session.intra_op.spin_backoff_max"])
def test_who_says_how_a_pool_spins_says_all_about_it(preset, key):
    found = dict(read(preset=preset, config_entries={key: "50"}).config_entries)
    assert found == {INTER: PRESETS[preset]["config_entries"][INTER], key: "50"}


def test_an_option_that_no_preset_speaks_about_is_kept(model):
    expected = said(model, preset="service") | {"log_id": "name", "graph_optimization_level": "basic"}
    assert said(model, preset="service", log_id="name", graph_optimization_level="basic") == expected


@pytest.mark.parametrize("wrong", [{"intra_op_num_threads": -1}, {"config_entries": {INTRA: "no"}}, {"presets": ""}])
def test_a_preset_makes_no_wrong_option_right(model, wrong):
    with pytest.raises(ortx.OptionError, match=f"ortx.session: (unknown )?option '{next(iter(wrong))}'"):
        ortx.session(model, wrong, preset="service")


# --- what the session says


ANY_OPTIONS = st.fixed_dictionaries(
    {"preset": st.sampled_from(list(PRESETS))},
    optional={
        "intra_op_num_threads": st.none() | st.integers(0, 3),
        "enable_cpu_mem_arena": st.none() | st.booleans(),
        "enable_mem_pattern": st.none() | st.booleans(),
        "execution_mode": st.sampled_from(["sequential", "parallel"]),
        "config_entries": st.dictionaries(
            st.sampled_from([INTRA, INTER, "session.force_spinning_stop"]), st.sampled_from(["0", "1"])
        ),
    },
)


@settings(max_examples=30)
@given(table=ANY_OPTIONS)
def test_what_a_session_says_can_be_given_to_another(model, table):
    first = said(model, table)
    assert first["preset"] == table["preset"]
    assert said(model, first) == first
    assert said(model, **json.loads(json.dumps(first))) == first


def test_a_session_that_is_opened_anew_keeps_its_preset(model, compile_shared):
    source = """
    #ifdef __GNUC__
    __attribute__((visibility("default")))
    #endif
    void *RegisterCustomOps(void *options, const void *base) { return 0; }
    """
    library = compile_shared(source, "no_operators")
    with ortx.session(model, preset="service", intra_op_num_threads=1) as session:
        before = session.options()
        session.register_custom_op_library(library)
        assert session.options() == before | {"custom_op_libraries": [str(library)]}


GLOBAL_POOLS = """
import json, sys
import numpy as np
import ortx
from ortx.presets import PRESETS
ortx.configure(use_global_thread_pools=True, global_intra_op_num_threads=3, global_inter_op_num_threads=2)
said = {}
for preset in (None, *PRESETS):
    for shared in (True, False):
        session = ortx.session(sys.argv[1], preset=preset, disable_per_session_threads=shared)
        assert session.run([np.full((1, 2), 3, np.float32)])["y"].tolist() == [[9, 9]]
        assert ortx.session(sys.argv[1], session.options()).options() == session.options()
        said[f"{preset} {shared}"] = session.options()
print(json.dumps(said))
"""


def test_in_the_global_pools_a_preset_says_nothing_about_threads(run_python, model):
    done = run_python(GLOBAL_POOLS, model)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    found = json.loads(done.stdout)
    for preset, table in PRESETS.items():
        of_memory = {name: value for name, value in table.items() if name.startswith("enable_")}
        assert found[f"{preset} True"] == found["None True"] | of_memory | {"preset": preset}
        assert found[f"{preset} True"]["intra_op_num_threads"] == 3
        expected = found["None False"] | table | {"preset": preset}
        expected["intra_op_num_threads"] = table["intra_op_num_threads"] or cpus.available()
        expected["max_concurrency"] = cpus.available() // expected["intra_op_num_threads"]
        assert found[f"{preset} False"] == expected


# --- what the docs say


def table_under(heading: str, columns: int) -> list[list[str]]:
    """Return the rows of the first table below a line of the page."""
    markdown_it = pytest.importorskip("markdown_it", reason="needs the package markdown_it (dependency group docs)")
    if not PAGE.is_file():
        pytest.skip("needs the source tree: this ortx was installed without it")
    tokens = markdown_it.MarkdownIt("commonmark").enable("table").parse(PAGE.read_text("utf-8").partition(heading)[2])
    cells = []
    for i, token in enumerate(tokens):
        if token.type in ("td_open", "th_open"):
            cells.append(tokens[i + 1].content.strip("`"))
        elif token.type == "table_close":
            break
    return [cells[i : i + columns] for i in range(0, len(cells), columns)]


def test_the_table_of_the_docs_says_what_the_presets_set():
    titles, *rows = table_under("This is what they set.", 1 + len(PRESETS))
    assert [ast.literal_eval(title) for title in titles[1:]] == list(PRESETS)
    for position, table in enumerate(PRESETS.values(), 1):
        flat = {name: value for name, value in table.items() if name != "config_entries"}
        flat |= table["config_entries"]
        assert {cells[0]: ast.literal_eval(cells[position]) for cells in rows} == flat


def test_the_docs_say_what_each_preset_is_for():
    _, *rows = table_under("## Presets", 2)
    assert [ast.literal_eval(name) for name, _ in rows] == list(PRESETS)


def test_the_docstring_and_the_page_of_sessions_name_every_preset():
    for preset in PRESETS:
        assert f'``"{preset}"``' in ortx.session.__doc__
        assert f'`"{preset}"`' in (PAGE.parent / "session.md").read_text("utf-8")
