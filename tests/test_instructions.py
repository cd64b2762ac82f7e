"""Instruction counts: what callgrind writes is read right, compared right, and nothing grew against the records."""

from __future__ import annotations

import copy
import importlib
import importlib.util
import json
import shutil
import sys
from pathlib import Path

import pytest

import ortx

ROOT = Path(__file__).parents[1]

if not (ROOT / "benchmarks").is_dir():
    pytest.skip("needs the source tree: benchmarks/ is not here", allow_module_level=True)


@pytest.fixture(scope="module")
def instructions():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        yield importlib.import_module("benchmarks.instructions")


@pytest.fixture(scope="module")
def callgrind(instructions):
    return sys.modules["benchmarks.callgrind"]


def counts(outside: int = 1000, total: int = 10000, name: str = "binding.run()") -> dict[str, dict[str, object]]:
    return {name: {"outside": outside, "total": total, "objects": {"ortx": outside}}}


KEY = {"machine": "x86_64", "compiler": "GCC: 12.2.0", "Python": "CPython 3.11.7"}


# --- comparing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("now", [counts(1030), counts(970), counts(1000, 10300), counts(1000, 9700)])
def test_three_percent_are_no_growth_and_no_fall(instructions, now):
    assert instructions.compare(now, counts()) == instructions.Comparison([], [])


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (counts(1031), "binding.run(): 1000 -> 1031 instructions outside ONNX Runtime (+3.1%); at most +3% is allowed"),
        (counts(1000, 10301), "binding.run(): 10000 -> 10301 instructions in all (+3.0%); at most +3% is allowed"),
    ],
)
def test_more_than_three_percent_are_a_growth_of_what_grew(instructions, now, words):
    assert instructions.compare(now, counts()) == instructions.Comparison([words], [])


def test_a_fall_is_a_note_and_no_failure(instructions):
    comparison = instructions.compare(counts(900), counts())
    assert comparison.grown == []
    assert comparison.notes == [
        "binding.run(): 1000 -> 900 instructions outside ONNX Runtime (-10.0%): re-record, so that the gain is kept"
    ]


def test_what_is_only_on_one_side_is_told(instructions):
    comparison = instructions.compare(counts(name="new"), counts(name="old"))
    assert comparison.grown == []
    assert comparison.notes == [
        "new is new: nothing is recorded for it",
        "old was recorded, and is not measured any more",
    ]


def test_a_record_replaces_that_of_its_key_and_no_other(instructions, tmp_path):
    other = {"key": KEY | {"compiler": "GCC: 13"}, "counts": counts(1), "floor": {}}
    first, second = ({"key": dict(KEY), "counts": counts(number), "floor": {}} for number in (2, 3))
    records = instructions.put_record(instructions.put_record([other], first), second)
    assert instructions.find_record(records, KEY) == second
    assert instructions.find_record(records, other["key"]) == other
    assert len(records) == 2
    instructions.write_records(tmp_path / "records.json", records)
    assert instructions.read_records(tmp_path / "records.json") == records


@pytest.mark.parametrize("text", ["", "{}{}", "[1]", '[{"key": {}}]', '{"key": 1}'])
def test_a_file_of_something_else_is_refused(instructions, tmp_path, text):
    file = tmp_path / "something.json"
    file.write_text(text)
    with pytest.raises(instructions.CountError, match=r"something\.json is not what .* --json FILE` writes"):
        instructions.read_records(file)


def test_a_missing_file_is_told(instructions, tmp_path):
    with pytest.raises(instructions.CountError, match=r"cannot read .*none\.json: No such file"):
        instructions.read_records(tmp_path / "none.json")


# --- the command, with a measurement that is made up ------------------------------------------------------------------


@pytest.fixture
def measured(instructions, monkeypatch, tmp_path):
    """A measurement and a file of records, neither of them real."""
    record = {"key": dict(KEY), "counts": counts(), "floor": {}}
    monkeypatch.setattr(instructions, "measure", lambda package, floor: copy.deepcopy(record))
    monkeypatch.setattr(instructions, "print_table", lambda record: None)
    monkeypatch.setattr(instructions, "RECORDS", tmp_path / "instructions.json")
    return record


def test_what_was_recorded_has_not_grown(instructions, measured, capsys):
    assert instructions.main(["--record"]) == 0
    assert instructions.main(["--against", str(instructions.RECORDS)]) == 0
    assert "Nothing grew or fell by more than 3% against instructions.json." in capsys.readouterr().out


def test_a_growth_is_the_exit_status_and_says_how_to_re_record(instructions, measured, capsys, tmp_path):
    before, now = tmp_path / "before.json", tmp_path / "now.json"
    assert instructions.main(["--json", str(before)]) == 0
    measured["counts"]["binding.run()"]["outside"] = 1040
    assert instructions.main(["--json", str(now), "--against", str(before)]) == 1
    said = capsys.readouterr().out
    assert "GREW: binding.run(): 1000 -> 1040 instructions outside ONNX Runtime (+4.0%)" in said
    assert "re-record with `python -m benchmarks.instructions --record`" in said
    assert instructions.read_records(now) == [measured]
    assert instructions.main(["--against", str(before), "--meant"]) == 0
    assert "GREW: binding.run()" in capsys.readouterr().out


def test_without_a_record_it_says_what_differs_and_does_not_pass(instructions, measured, capsys):
    assert instructions.main(["--record"]) == 0
    measured["key"]["compiler"] = "GCC: 14.1.0"
    assert instructions.main(["--against", str(instructions.RECORDS), "--meant"]) == 2
    said = capsys.readouterr().out
    assert "compiler: 'GCC: 12.2.0' there, 'GCC: 14.1.0' here" in said
    assert "Python:" not in said
    assert "`python -m benchmarks.instructions --record`" in said


def test_without_valgrind_it_says_so(instructions, monkeypatch, capsys):
    monkeypatch.setattr(instructions.shutil, "which", lambda name: None)
    monkeypatch.setattr(instructions, "_run", lambda command, package: json.dumps({"folder": str(package), "key": {}}))
    assert instructions.main(["--package", str(ROOT)]) == 2
    assert "valgrind is not installed: `apt-get install valgrind`" in capsys.readouterr().err


def test_a_folder_without_an_ortx_is_told(instructions, tmp_path, monkeypatch):
    monkeypatch.setattr(instructions, "_run", lambda command, package: json.dumps({"folder": str(ROOT), "key": {}}))
    with pytest.raises(instructions.CountError, match=r"there is no ortx in .*Build it there: `python setup\.py"):
        instructions.describe(tmp_path)


@pytest.mark.parametrize("unfit", ["it was built with ORTX_DEBUG=1", "it was built with ORTX_LINE_TRACE=1"])
def test_a_build_for_another_purpose_is_not_measured(instructions, monkeypatch, unfit):
    monkeypatch.setattr(instructions, "describe", lambda package: {"key": {}, "unfit": unfit})
    with pytest.raises(instructions.CountError, match=f"cannot be measured: {unfit}"):
        instructions.measure(ROOT)


# --- reading what callgrind writes ------------------------------------------------------------------------------------

# 3 of Python, 10 + 2 of ortx, 100 + 40 of ONNX Runtime, 7 of the C library on its behalf, 5 on that of ortx.
DUMP = """\
version: 1
desc: Trigger: Client Request: 4 500 1
positions: line
events: Ir
summary: 167

ob=/usr/bin/python3.11
fn=loop
0 3
cob=/somewhere/ortx/_core.cpython-311-x86_64-linux-gnu.so
cfn=run
calls=2 0
0 164

ob=/somewhere/ortx/_core.cpython-311-x86_64-linux-gnu.so
fn=run
0 10
cfn=helper
calls=2 0
0 2
cob=/site-packages/onnxruntime/capi/libonnxruntime.so.1.31.1
cfn=0x1234
calls=2 0
0 147
cob=/lib/x86_64-linux-gnu/libc.so.6
cfn=free
calls=1 0
0 5
fn=helper
0 2

ob=/site-packages/onnxruntime/capi/libonnxruntime.so.1.31.1
fn=0x1234
0 100
cfn=0x5678
calls=2 0
0 40
cob=/lib/x86_64-linux-gnu/libc.so.6
cfn=malloc
calls=2 0
0 7
fn=0x5678
0 40

ob=/lib/x86_64-linux-gnu/libc.so.6
fn=malloc
0 7
fn=free
0 5

totals: 167
"""


def test_a_dump_is_read_by_object_and_by_who_called(callgrind):
    dump = callgrind.read_dump(DUMP)
    assert dump.label == "4 500 1"
    assert dump.objects == {"Python": 3, "ortx": 12, "ONNX Runtime": 140, "C library": 12}
    assert (dump.total, dump.inside, dump.outside) == (167, 147, 20)


def test_a_dump_that_does_not_add_up_is_refused(callgrind):
    with pytest.raises(callgrind.CountError, match="counted 168 instructions; those that it lists are 167"):
        callgrind.read_dump(DUMP.replace("totals: 167", "totals: 168"))


@pytest.mark.parametrize(
    ("path", "owner"),
    [
        ("/usr/bin/python3.13", "Python"),
        ("/opt/python/lib/libpython3.13.so.1.0", "Python"),
        ("/opt/lib/python3.13/lib-dynload/_ctypes.cpython-313-x86_64-linux-gnu.so", "Python"),
        ("/opt/lib/python3.13/site-packages/numpy/_core/_multiarray_umath.cpython-313-x86_64-linux-gnu.so", "numpy"),
        ("/opt/lib/python3.13/site-packages/onnxruntime/capi/libonnxruntime.so.1.31.1", "ONNX Runtime"),
        ("/usr/lib/x86_64-linux-gnu/libc-2.31.so", "C library"),
        ("/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", "C library"),
        ("/usr/lib/aarch64-linux-gnu/ld-linux-aarch64.so.1", "C library"),
        ("/usr/lib/x86_64-linux-gnu/libstdc++.so.6.0.30", "C++ library"),
        ("???", "other"),
    ],
)
def test_an_object_file_has_an_owner(callgrind, path, owner):
    assert callgrind.owner_of(path) == owner


def dumps(callgrind, costs: dict[int, list[int]], around: int = 70) -> list[object]:
    """Make dumps of things that cost so much per call in each round."""
    return [
        callgrind.Dump(f"{index} {calls} {round_}", {"ortx": around + cost * calls}, inside=calls)
        for index, rounds in costs.items()
        for round_, cost in enumerate(rounds)
        for calls in (100, 200)
    ]


def test_a_call_costs_the_difference_less_the_empty_loop(callgrind):
    counted = callgrind.counts_per_call(dumps(callgrind, {0: [999, 500, 501], 1: [60, 50, 50]}), ["run", "pass"])
    # The inside of the empty loop, 1 per call, is there only because `dumps` gives everything one.
    assert counted == {"run": {"total": 450, "outside": 450, "objects": {"ortx": 450}}}


def test_rounds_that_differ_are_refused(callgrind):
    with pytest.raises(callgrind.CountError, match=r"run: the rounds differ by more than 0\.2%"):
        callgrind.counts_per_call(dumps(callgrind, {0: [5000, 5000, 5011]}), ["run"])


# --- the real thing ---------------------------------------------------------------------------------------------------


def test_the_records_are_of_different_keys_and_of_all_that_is_guarded(instructions):
    records = instructions.read_records(instructions.RECORDS)
    keys = [json.dumps(record["key"], sort_keys=True) for record in records]
    assert len(set(keys)) == len(keys)
    for record in records:
        assert len(record["counts"]) == 4
        for count in [*record["counts"].values(), *record["floor"].values()]:
            assert 0 < count["outside"] < count["total"]
            assert abs(sum(count["objects"].values()) - count["total"]) <= len(count["objects"])


def test_nothing_grew_against_the_record_of_this_machine(instructions, capsys):
    if sys.platform == "win32":
        pytest.skip("needs valgrind, which Windows does not have")
    if shutil.which("valgrind") is None:
        pytest.skip("needs valgrind, not installed here")
    for package in ("numpy", "onnx", "rich"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"needs the package {package}, not installed here")
    package = Path(ortx.__file__).parents[1]
    described = instructions.describe(package)
    if described["unfit"]:
        pytest.skip(f"needs a build to be used: {described['unfit']}")
    records = instructions.read_records(instructions.RECORDS)
    if instructions.find_record(records, described["key"]) is None:
        pytest.skip(
            f"needs a record (`{instructions.RE_RECORD}`): "
            + instructions.why_there_is_none(records, described["key"], instructions.RECORDS.name).replace("\n", "; ")
        )
    status = instructions.main(["--quick", "--package", str(package)])
    printed = capsys.readouterr()
    assert status == 0, printed.out + printed.err
