"""Bad environments: no HOME, no current folder, a read-only file system, LANG=C, odd file names, files that are none.

Each in a process of its own. Too little memory and too few threads are in test_out_of_memory.py, CPUs in test_cpus.py.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import models
import pytest

import ortx
from ortx import _core

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs the file names and folders of POSIX systems")
needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="needs file names of any bytes, which Linux takes")

PRELUDE = """
import json, os, sys
import numpy as np
import ortx
path = sys.argv[1]

def use(path, **options):
    "Open a model, run it, close it."
    with ortx.session(path, **options) as session:
        return session.run([np.full((1, 2), 3, np.float32)])[0].tolist()

def attempt(call, *arguments, **options):
    "Return what a call returns, or the classes and the message of what it raises."
    try:
        return call(*arguments, **options)
    except Exception as error:
        return [[each.__name__ for each in type(error).__mro__], str(error)]

def profile(path, prefix):
    with ortx.session(path, profile_file_prefix=prefix) as session:
        return session.end_profiling()

def tell(*answers):
    print(json.dumps(answers))  # in ASCII
"""
WORKS = [[9, 9]]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    file = tmp_path / "square.onnx"
    file.write_bytes(models.square())
    return file


@pytest.fixture
def ask(run_python: Callable[..., Any], model: Path) -> Callable[..., Any]:
    def ask(code: str, *arguments: object, **environment: object) -> Any:
        done = run_python(PRELUDE + code, model, *arguments, **environment)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return json.loads(done.stdout)

    return ask


def is_one_of(answer: Any, class_: type[Exception]) -> bool:
    return answer[0][0] == class_.__name__ and "Error" in answer[0]


# --- HOME, and the current folder


@pytest.mark.parametrize(
    ("home", "telemetry"),
    [(None, False), ("", False), ("/no/such/folder", False), ("/dev/null", False), (None, True), ("/dev/null", True)],
)
def test_no_home_is_needed(ask, home, telemetry):
    nobody = dict.fromkeys(("USER", "LOGNAME", "XDG_CACHE_HOME", "TMPDIR"))
    code = f"os.chdir(os.path.dirname(path)); ortx.configure(telemetry={telemetry}); tell(use(path))"
    assert ask(code, HOME=home, **nobody) == [WORKS]


def test_no_environment_is_needed(ask):
    everything = dict.fromkeys(name for name in os.environ if name != "PYTHONPATH" and not name.startswith("LD_"))
    assert ask("tell(use(path), len(os.environ) < 6)", **everything) == [WORKS, True]


def test_where_the_current_folder_is_gone_absolute_paths_work_and_others_are_refused(ask):
    answers = ask(
        """
gone = os.path.join(os.path.dirname(path), "gone")
os.mkdir(gone); os.chdir(gone); os.rmdir(gone)
tell(
    attempt(ortx.load_library, "libonnxruntime.so"), use(path), attempt(use, "m.onnx"), attempt(profile, path, "p"),
    attempt(ortx.load_custom_op_library, "ops.so"), attempt(use, path, custom_op_libraries=["ops.so"]),
    attempt(use, path, optimized_model_path="optimized.onnx"),
    attempt(ortx.session(path).register_custom_op_library, "ops.so"),
    attempt(ortx.session_from_bytes, open(path, "rb", 0).read(), initializers={"w": np.zeros(1)}),
)
""".replace('open(path, "rb", 0).read()', "__import__('pathlib').Path(path).read_bytes()")
    )
    works = answers.pop(1)
    assert works == WORKS
    classes = [answer[0][0] for answer in answers]
    assert classes == [
        *("NoSuchFile", "NoSuchFile", "NoSuchFile", "NoSuchFile", "OptionError", "NoSuchFile", "NoSuchFile"),
        "OptionError",  # the model has no such initializer: it was looked at
    ], answers
    assert "folder" in answers[0][1]


def test_a_library_named_in_the_environment_may_be_in_a_folder_that_is_gone(ask):
    (answer,) = ask(
        """
gone = os.path.join(os.path.dirname(path), "gone")
os.mkdir(gone); os.chdir(gone); os.rmdir(gone)
tell(attempt(use, path))
""",
        ORTX_LIBRARY="libonnxruntime.so",
    )
    assert is_one_of(answer, ortx.NoSuchFile)
    assert "ORTX_LIBRARY" in answer[1]


# --- what cannot be written, or read

WRITE = """
optimized = attempt(use, path, optimized_model_path=folder + "/optimized.onnx")
tell(use(path), optimized, attempt(profile, path, folder + "/p"))
"""


@needs_linux
def test_on_a_read_only_file_system_models_run_and_what_would_write_is_refused(tmp_path, model):
    if shutil.which("unshare") is None or shutil.which("mount") is None:
        pytest.skip("needs the programs unshare and mount, to make a read-only file system")
    folder = tmp_path / "read only"
    folder.mkdir()
    mount = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" || exit 99; cd "$1"; shift; exec "$@"'
    code = PRELUDE + "folder = os.getcwd()\n" + WRITE
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", mount, "sh", folder, sys.executable, "-W", "error", "-c", code, model],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"HOME": str(folder), "PYTHONPATH": str(Path(ortx.__file__).parents[1])},
    )
    if done.returncode == 99 or "unshare" in done.stderr:
        pytest.skip(f"needs a mount of its own, which is not allowed here: {done.stderr.strip()}")
    assert (done.returncode, done.stderr) == (0, "")
    works, optimized, profiled = json.loads(done.stdout)
    assert works == WORKS
    assert is_one_of(optimized, ortx.FileError)
    assert os.strerror(errno.EROFS) in optimized[1]
    assert is_one_of(profiled, ortx.NoSuchFile)
    assert list(folder.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root, to become another user")
def test_what_another_user_may_not_read_or_write_is_a_file_error(ask, tmp_path):
    secret = tmp_path / "secret.onnx"
    secret.write_bytes(models.square())
    secret.chmod(0)
    works, optimized, profiled, unreadable = ask(
        """
import dataclasses, logging, mmap
use(path)  # what is imported later could not be read any more
with open(path, "rb") as file:
    content = file.read()
folder, secret = sys.argv[2:]
os.chmod(folder, 0o755); os.setgid(65534); os.setuid(65534)
attempts = [attempt(ortx.session_from_bytes, content, optimized_model_path=folder + "/optimized.onnx")]
def profiled():
    with ortx.session_from_bytes(content, profile_file_prefix=folder + "/p") as session:
        return session.end_profiling()
attempts.append(attempt(profiled))
with ortx.session_from_bytes(content) as session:
    tell(session.run([np.full((1, 2), 3, np.float32)])[0].tolist(), *attempts, attempt(use, secret))
""",
        tmp_path,
        secret,
    )
    assert works == WORKS
    assert is_one_of(optimized, ortx.FileError)
    assert os.strerror(errno.EACCES) in optimized[1]
    assert is_one_of(profiled, ortx.NoSuchFile)
    assert unreadable[0][0] in ("FileError", "InvalidArgument"), unreadable


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC, errno.EMFILE, errno.EIO])
def test_the_systems_number_of_an_error_is_not_taken_for_a_code_of_onnx_runtime(number):
    # ORT puts it where the code should be: 13 would be "the model requires compilation".
    error = _core.error_from_status(number, f'open file "model.onnx" failed: {os.strerror(number)}')
    assert type(error) is ortx.FileError
    assert isinstance(error, OSError)
    assert (error.errno, error.code) == (number, ortx.ErrorCode.FAIL)
    loaded = _core.error_from_status(1, f"Load model from model.onnx failed:system error number {number}")
    assert (type(loaded), loaded.errno) == (ortx.FileError, number)
    assert os.strerror(number) in str(loaded)
    missing = _core.error_from_status(2, f'open file "model.onnx" failed: {os.strerror(errno.ENOENT)}')
    assert type(missing) is ortx.NoSuchFile
    assert type(_core.error_from_status(13, "the model requires compilation")) is ortx.ModelRequiresCompilation


# --- the language

LANGUAGES = {
    "C, as Python takes it": ({"LANG": "C", "LC_ALL": None}, True),
    "C, and Python is to believe it": ({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, False),
    "POSIX, with UTF-8 mode": ({"LC_ALL": "POSIX", "PYTHONUTF8": "1"}, True),
    "one that does not exist": ({"LC_ALL": "xx_XX.UTF-8", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, False),
}


@needs_linux
@pytest.mark.parametrize("language", LANGUAGES)
def test_whatever_the_language_names_are_utf8_in_models_and_bytes_in_folders(ask, tmp_path, language):
    variables, knows_all = LANGUAGES[language]
    named = tmp_path / "Größe 模型.onnx"
    named.write_bytes(models.square())
    encoding, from_argument, from_bytes, written, missing = ask(
        """
ortx.configure(log_id="Gr\\u00f6\\u00dfe")
given = sys.argv[2]
literal = os.path.join(os.path.dirname(path), "Gr\\u00f6\\u00dfe \\u6a21\\u578b.onnx")
tell(
    sys.getfilesystemencoding(), use(given), use(os.fsdecode(literal.encode())), attempt(use, literal),
    attempt(use, given + " missing"),
)
""",
        named,
        **variables,
    )
    assert (encoding == "utf-8") == knows_all
    assert (from_argument, from_bytes) == (WORKS, WORKS)
    if knows_all:
        assert written == WORKS
    else:
        assert is_one_of(written, ortx.InvalidArgument)
    assert is_one_of(missing, ortx.NoSuchFile)


@needs_linux
def test_names_in_a_model_and_texts_of_options_are_utf8_in_any_language(ask, tmp_path):
    identity = models.build(
        [models.helper.make_node("Identity", ["größe"], ["größer"])],
        [models.tensor("größe", shape=("länge",))],
        [models.tensor("größer", shape=("länge",))],
    )
    (tmp_path / "identity.onnx").write_bytes(identity)
    names, result, refused = ask(
        """
with ortx.session(sys.argv[2], log_id="Gr\\u00f6\\u00dfe", free_dimension_overrides=[
    {"by": "name", "key": "l\\u00e4nge", "value": 2}
]) as session:
    names = session.input_names() + session.output_names()
    tell(names, session.run({names[0]: [1, 2]})[0].tolist(), attempt(session.run, {"gr\\u00f6sse": [1, 2]}))
""",
        tmp_path / "identity.onnx",
        LC_ALL="C",
        PYTHONUTF8="0",
        PYTHONCOERCECLOCALE="0",
    )
    assert names == ["größe", "größer"]
    assert result == [1, 2]
    assert is_one_of(refused, ortx.CallError)
    assert "did you mean 'größe'" in refused[1]


# --- file names

NAMES = {
    "spaces": b"a b  c",
    "quotes and control characters": b"'\"$x;\t\n\\",
    "no UTF-8": b"\xff\xfe \xe4",
    "a dash in front": b"-o",
    "dots": b"...",
    "percent signs and braces": b"%s%n{0}",
}


@needs_linux
def test_any_name_is_good_for_models_profiles_and_libraries(ask, tmp_path):
    for name in NAMES.values():
        folder = tmp_path / os.fsdecode(name)
        folder.mkdir()
        (folder / "bad").write_bytes(b"no library, no model")
    answers = ask(
        """
import pathlib, shutil

def work(folder):
    name = os.path.join(folder, os.path.basename(folder) + ".onnx")
    shutil.copy(path, name)
    results = [use(name), use(pathlib.Path(name)), use(name, optimized_model_path=name + " optimized")]
    results.append(use(name + " optimized"))
    os.chdir(folder)
    results += [use(os.path.join(".", os.path.basename(name))), "Session" in repr(ortx.session(name))]
    file = profile(name, os.path.join(folder, os.path.basename(folder)))
    refused = [attempt(call, os.path.join(folder, "bad")) for call in (use, ortx.load_custom_op_library)]
    refused.append(attempt(use, path, custom_op_libraries=[pathlib.Path(folder, "bad")]))
    refused.append(attempt(use, name + " missing"))
    return results, os.path.isfile(file) and os.path.dirname(file) == folder, refused, len(os.listdir(folder))

tell(*[work(folder) for folder in sys.argv[2:]])
""",
        *(tmp_path / os.fsdecode(name) for name in NAMES.values()),
    )
    for kind, (results, is_profiled, refused, listed) in zip(NAMES, answers, strict=True):
        assert results == [WORKS] * 5 + [True], kind
        assert is_profiled, kind
        assert all("Error" in answer[0] for answer in refused), (kind, refused)
        assert is_one_of(refused[3], ortx.NoSuchFile), kind
        assert listed == 4, kind  # the model, the optimised one, the profile, what is bad


@needs_linux
@pytest.mark.parametrize("kind", ["spaces", "no UTF-8"])
def test_onnx_runtime_itself_may_have_any_name(ask, tmp_path, kind):
    file = tmp_path / os.fsdecode(NAMES[kind])
    shutil.copy(ortx.load_library().path, file)
    works, is_that = ask(
        """
import pathlib
info = ortx.load_library(pathlib.Path(sys.argv[2]))
tell(use(path), info.path == sys.argv[2])
""",
        file,
    )
    assert (works, is_that) == (WORKS, True)
    works, is_that = ask("tell(use(path), ortx.load_library().path == sys.argv[2])", file, ORTX_LIBRARY=os.fspath(file))
    assert (works, is_that) == (WORKS, True)


@needs_linux
def test_a_path_of_4000_characters_is_as_good_as_any_and_a_longer_one_is_refused(ask):
    length, works, profiled, refused = ask("""
import shutil
start = os.getcwd()
os.chdir(os.path.dirname(path))
folder = os.getcwd()
while len(folder) < 3900:
    folder += "/" + "d" * min(200, 3950 - len(folder))
    os.mkdir(folder)
name = folder + "/" + "m" * (4000 - len(folder) - 1)
shutil.copy(path, name)
works = [use(name), use(name, optimized_model_path=folder + "/optimized")]
file = profile(name, folder + "/p")
os.chdir(folder)
works.append(use(os.path.basename(name)))
too_long = ["x" * 300, "x/" * 2100 + "m", folder + "/" + "x" * 200]
refused = [attempt(use, each) for each in too_long]
refused += [attempt(ortx.load_custom_op_library, each) for each in too_long]
refused += [attempt(use, path, optimized_model_path=each) for each in too_long]
refused += [attempt(profile, path, each) for each in too_long]
tell(len(name), works, os.path.isfile(file), refused)
""")
    assert (length, works, profiled) == (4000, [WORKS] * 3, True)
    for answer in refused:
        assert answer[0][0] in ("InvalidArgument", "NoSuchFile", "FileError"), answer


@needs_linux
def test_a_library_at_a_path_that_is_too_long_is_refused(ask):
    (answer,) = ask("tell(attempt(ortx.load_library, 'x/' * 2100 + 'lib.so'))")
    assert is_one_of(answer, ortx.NoSuchFile)


# --- what is no file

NO_FILES = {
    "a pipe": "os.mkfifo(odd)",
    "a link to a pipe": "os.mkfifo(odd + '2'); os.symlink(odd + '2', odd)",
    "a socket": "bound = socket.socket(socket.AF_UNIX); os.chdir(folder); bound.bind('odd'); bound.close()",
    "a device without an end": "odd = '/dev/zero'",
    "a device that is empty": "odd = '/dev/null'",
    "an end of a pipe": "odd = f'/dev/fd/{os.pipe()[0]}'",
    "an empty file": "open(odd, 'xb').close()",
    "a folder": "os.mkdir(odd)",
    "a link to a folder": "os.symlink('/', odd)",
    "a link to itself": "os.symlink(odd, odd)",
    "a link to nothing": "os.symlink('/no/such/file', odd)",
    "a file as a folder": "odd = path + '/'",
    "a file in a file": "odd = path + '/model'",
    "a file of the kernel": "odd = '/proc/self/status'",
}


@needs_linux
def test_what_is_no_file_is_refused_and_not_waited_for(ask):
    answers = ask(f"""
import socket
odds = []
for number, code in enumerate({list(NO_FILES.values())!r}):
    folder = os.path.join(os.path.dirname(path), str(number))
    os.mkdir(folder)
    odd = os.path.join(folder, "odd")
    exec(code)
    odds.append(odd)
loaded = [attempt(ortx.load_library, odd) for odd in odds]
tell(*[[
    loaded[number], attempt(use, odd), attempt(use, odd, initializers={{"w": np.zeros(1)}}),
    attempt(ortx.SessionPool, odd, 1), attempt(ortx.load_custom_op_library, odd),
    attempt(use, path, custom_op_libraries=odd), attempt(ortx.session(path).register_custom_op_library, odd),
] for number, odd in enumerate(odds)])
""")
    for kind, refused in zip(NO_FILES, answers, strict=True):
        classes = [answer[0][0] for answer in refused]
        assert all("Error" in answer[0] for answer in refused), (kind, refused)
        assert classes[0] in ("NoSuchFile", "LibraryError"), (kind, refused[0])
        assert set(classes[1:3]) <= {"NoSuchFile", "InvalidArgument", "InvalidProtobuf", "FileError"}, (
            kind,
            refused[1:3],
        )
        if kind in ("a pipe", "a link to a pipe", "a socket", "a device without an end", "an end of a pipe"):
            for position in (0, 1, 4, 5, 6):
                assert "pipe, a device or a socket" in refused[position][1], (kind, refused[position])


@needs_linux
def test_a_link_to_a_model_is_the_model(ask):
    assert (
        ask("""
link = path + ".link"
os.symlink(os.path.basename(path), link)
os.chdir("/")
tell(use(link), use(os.path.relpath(link)), use(path.replace("/", "//")), use(os.path.dirname(path) + "/./square.onnx"))
""")
        == [WORKS] * 4
    )


@pytest.mark.parametrize("path", [b"m.onnx", 3, None, "", "a\0b"])
def test_what_is_no_path_is_refused_before_anything_else(path):
    with pytest.raises(ortx.InvalidArgument, match="model_path"):
        ortx.session(path)


# --- a disk that takes no more


FULL = """
import json, os, resource, sys
import numpy as np
import ortx
folder, content = sys.argv[1], open(sys.argv[2], "rb").read()
os.chdir(folder)
ortx.session_from_bytes(content).close()
def said(call):
    try:
        return ["", str(call())]
    except ortx.Error as error:
        return [type(error).__name__, str(error)]
profiled = ortx.session_from_bytes(content, profile_file_prefix="profile")
resource.setrlimit(resource.RLIMIT_FSIZE, (50, resource.RLIM_INFINITY))
ort = {"session.save_model_format": "ORT"}
profiled.run([np.ones((1, 2), np.float32)])
answers = [
    said(lambda: ortx.session_from_bytes(content, optimized_model_path="optimized.onnx")),
    said(lambda: ortx.session_from_bytes(content, optimized_model_path="optimized.ort", config_entries=ort)),
    said(profiled.end_profiling)]
sys.stdout.write(json.dumps(answers))
"""


def test_what_the_disk_does_not_take_is_an_error_that_names_the_option_and_the_file(run_python, tmp_path):
    (tmp_path / "model.onnx").write_bytes(models.square())
    (optimized, ort, profile) = json.loads(run_python(FULL, tmp_path, tmp_path / "model.onnx").stdout)
    for (name, message), file in ((optimized, "optimized.onnx"), (ort, "optimized.ort")):
        assert name == "FileError"
        assert message.startswith(
            "ortx.session_from_bytes: option 'optimized_model_path': ONNX Runtime could not write"
        )
        assert repr(file) in message
        assert "is no ONNX model" not in message
    assert profile[0] == "FileError"
    assert re.search(r"end_profiling: .* write all of 'profile_.*\.json': it is cut off at 50 bytes", profile[1])
