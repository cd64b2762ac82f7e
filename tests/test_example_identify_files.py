"""examples/identify_files.py gives Magika's own answers, and behaves on the command line.

The samples are made here, with nothing but the standard library. What Magika says about them comes
from a process of its own, so that the official onnxruntime package is never loaded beside ortx.
"""

from __future__ import annotations

import bz2
import errno
import gzip
import importlib.util
import io
import json
import lzma
import marshal
import math
import os
import pickle
import plistlib
import random
import sqlite3
import struct
import subprocess
import sys
import tarfile
import textwrap
import wave
import zipfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from email.message import EmailMessage
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import ortx

for package in ("magika", "onnxruntime", "rich"):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"needs the package {package}, not installed here", allow_module_level=True)

PROGRAM = Path(__file__).parents[1] / "examples" / "identify_files.py"

COLOURS = {"FORCE_COLOR", "TTY_COMPATIBLE"}  # variables that make rich colour what goes into a pipe
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in COLOURS} | {
    "ORT_DISABLE_TELEMETRY": "1",
    "PYTHONIOENCODING": "utf-8",
    # The ortx that is tested here, whether it is installed or built in place.
    "PYTHONPATH": os.fspath(Path(ortx.__file__).parents[1]),
}

ASK_MAGIKA = """
import json, magika, sys
tool, answers = magika.Magika(), []
for path in json.load(sys.stdin):
    result = tool.identify_path(path)
    answers.append({
        "label": str(result.output.label), "score": result.score,
        "model": str(result.dl.label), "changed": str(result.prediction.overwrite_reason),
    } if result.ok else {"label": None, "score": 0.0})
json.dump(answers, sys.stdout)
"""

RUN_AND_LIST_MODULES = """
import runpy, sys
program = sys.argv.pop(1)
try:
    runpy.run_path(program, run_name="__main__")
except SystemExit as end:
    print("exit code", end.code)
print("modules", *sorted(sys.modules))
"""


@pytest.fixture(scope="module")
def program() -> ModuleType:
    """The example as a module."""
    spec = importlib.util.spec_from_file_location("identify_files", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A path of every kind, by name."""
    folder = tmp_path_factory.mktemp("samples")
    paths = {"folder": folder, "nothing there": folder / "nothing there"}
    for name, content in [*texts(), *binaries(folder), *edges()]:
        paths[name] = folder / name
        paths[name].write_bytes(content)
    if os.name == "posix":
        targets = {"link": "rust.rs", "dangling link": "nothing there", "link loop": "link loop"}
        for name, target in targets.items():
            paths[name] = folder / name
            paths[name].symlink_to(folder / target)
        paths["pipe"] = folder / "pipe"
        os.mkfifo(paths["pipe"])
    return paths


@pytest.fixture(scope="module")
def magika(samples: dict[str, Path]) -> dict[str, dict[str, Any]]:
    """What Magika says about the samples, by name."""
    answers = subprocess.run(
        [sys.executable, "-c", ASK_MAGIKA],
        input=json.dumps([str(path) for path in samples.values()]),
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    return dict(zip(samples, json.loads(answers), strict=True))


@pytest.fixture(scope="module")
def ours(program: ModuleType, samples: dict[str, Path]) -> dict[str, Any]:
    """What the example says about the samples, by name."""
    model = program.load_model()
    with ortx.session(model.path, intra_op_num_threads=1) as session:
        results = program.Identifier(model, session).identify(samples.values())
    return dict(zip(samples, results, strict=True))


def command(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=ENVIRONMENT,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def row(output: str, name: str) -> list[str]:
    """The cells of the line of the table that shows `name`."""
    (line,) = (line for line in output.splitlines() if line.split()[:1] == [name])
    return line.split()[1:]


# --- the answers --------------------------------------------------------------------------------


def test_labels_are_those_of_magika(ours: dict[str, Any], magika: dict[str, Any]) -> None:
    assert {name: result.label for name, result in ours.items()} == {
        name: answer["label"] for name, answer in magika.items()
    }


def test_scores_are_those_of_magika(ours: dict[str, Any], magika: dict[str, Any]) -> None:
    differences = {name: abs(ours[name].score - magika[name]["score"]) for name in magika}
    assert {name: d for name, d in differences.items() if not d <= 1e-5} == {}


def test_the_samples_put_every_rule_to_work(magika: dict[str, Any]) -> None:
    answers = [answer for answer in magika.values() if answer["label"] is not None]
    without_model = {answer["label"] for answer in answers if answer["model"] == "undefined"}
    by_model = [answer for answer in answers if answer["model"] != "undefined"]
    changed = {(answer["changed"], answer["label"]) for answer in by_model}
    assert without_model == {"directory", "empty", "txt", "unknown"}
    assert changed >= {("overwrite_map", "txt"), ("overwrite_map", "unknown")}
    assert changed >= {("low_confidence", "txt"), ("low_confidence", "unknown")}
    assert any(a["changed"] == "low_confidence" and a["score"] > 0.5 for a in by_model)
    assert len({answer["label"] for answer in by_model}) >= 30


def test_results_carry_path_and_time_or_error(ours: dict[str, Any], samples: dict[str, Path]) -> None:
    assert [result.path for result in ours.values()] == list(samples.values())
    for result in ours.values():
        if result.label is None:
            assert (result.score, result.seconds) == (0.0, 0.0)
            assert result.error
        else:
            assert 0.0 < result.score <= 1.0
            assert 0.0 < result.seconds < 10.0
            assert result.error is None


def test_threads_share_one_identifier(program: ModuleType, samples: dict[str, Path], ours: dict[str, Any]) -> None:
    model = program.load_model()
    with ortx.session(model.path, intra_op_num_threads=1) as session, ThreadPoolExecutor(4) as pool:
        results = list(pool.map(program.Identifier(model, session).identify_path, samples.values()))
    assert [result.label for result in results] == [result.label for result in ours.values()]
    assert [result.score for result in results] == pytest.approx([result.score for result in ours.values()], abs=1e-5)


# --- the command line ---------------------------------------------------------------------------


def test_a_folder_gives_its_files_in_order(tmp_path: Path) -> None:
    content = dict(texts())
    hidden = [".git/a.py", ".venv/b.py", ".cache/c.py", "build/d.py", "__pycache__/e.py"]
    shown = ["a/z.py", "b/build.py", "b/y/x.py", "b.py"]
    for path in [tmp_path / "top" / name for name in hidden + shown]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content["python.py"])
    (tmp_path / "other.sql").write_bytes(content["sql.sql"])
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "top" / "pipe")  # below a folder, only regular files count

    done = command(PROGRAM, "other.sql", "top", cwd=tmp_path)

    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.split() for line in done.stdout.splitlines() if line.rstrip().endswith(" ms")]
    expected = [["other.sql", "sql"]] + [[str(Path("top", name)), "python"] for name in shown]
    assert [cells[:2] for cells in lines] == expected
    assert all(0.9 < float(score) <= 1.0 and float(time) > 0.0 for _, _, score, time, _ in lines)
    summary = done.stdout.splitlines()[-1]
    versions = f"ortx {ortx.__version__}, ONNX Runtime {ortx.load_library().version}"
    assert summary.startswith("5 files in ")
    assert summary.endswith(f" s, {versions}")


def test_no_argument_is_a_usage_error(tmp_path: Path) -> None:
    done = command(PROGRAM, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "PATH" in done.stderr


def test_a_missing_file_is_a_row_and_exit_code_1(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    with pytest.raises(FileNotFoundError) as missing:
        (tmp_path / "missing").stat()
    reason = missing.value.strerror or ""
    done = command(PROGRAM, "missing", "empty", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    assert row(done.stdout, "missing") == reason.split()
    assert row(done.stdout, "empty")[:2] == ["empty", "1.000"]


def test_a_file_or_folder_without_permission_is_a_row_and_exit_code_1(
    program: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "locked").mkdir()
    (tmp_path / "secret").write_text("not for everybody")

    def with_permissions(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: str | Path, *arguments: Any, **keywords: Any) -> Any:
            if Path(path).name in ("locked", "secret"):
                raise PermissionError(errno.EACCES, "Permission denied", os.fspath(path))
            return function(path, *arguments, **keywords)

        return call

    # Not with chmod, which does not stop the superuser.
    monkeypatch.setattr(Path, "open", with_permissions(Path.open))
    monkeypatch.setattr(os, "scandir", with_permissions(os.scandir))
    for name in COLOURS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    code = program.main(["."])

    output = capsys.readouterr().out
    assert code == 1
    assert row(output, "secret") == row(output, "locked") == ["Permission", "denied"]


@pytest.mark.skipif(os.name != "posix", reason="other systems do not have such names")
def test_any_name_is_shown_on_one_line(tmp_path: Path) -> None:
    long = "long" * 50
    for bad in (b"[red]", b"two\nlines", b"esc\x1b[31m", b"byte\xff", long.encode()):
        (tmp_path / os.fsdecode(bad)).touch()
    done = command(PROGRAM, ".", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    for name in ("[red]", "two?lines", "esc?[31m", "byte?", long):
        assert row(done.stdout, name)[0] == "empty"


def test_without_the_package_magika_the_message_says_what_to_install(
    program: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(SystemExit) as end:
        program.main(["."])
    assert end.value.code == 1
    assert "pip install magika" in capsys.readouterr().err


def test_neither_magika_nor_onnxruntime_is_imported(tmp_path: Path) -> None:
    (tmp_path / "sample").write_bytes(dict(texts())["rust.rs"])
    done = command("-c", RUN_AND_LIST_MODULES, PROGRAM, "sample", cwd=tmp_path)
    *output, modules = done.stdout.splitlines()
    assert output[-1] == "exit code 0", done.stderr
    assert output[-2].startswith("1 file in ")
    assert row(done.stdout, "sample")[0] == "rust"
    imported = {name.partition(".")[0] for name in modules.split()}
    assert imported & {"magika", "onnxruntime", "ortx"} == {"ortx"}


# --- samples of text ----------------------------------------------------------------------------

TEXTS = {
    "c.c": r"""
        #include <stdio.h>
        #include <stdlib.h>

        struct node { int value; struct node *next; };

        int main(void)
        {
            struct node *list = NULL;
            for (int i = 0; i < 10; i++) {
                struct node *item = malloc(sizeof *item);
                item->value = i * i;
                item->next = list;
                list = item;
            }
            for (; list != NULL; list = list->next)
                printf("%d\n", list->value);
            return EXIT_SUCCESS;
        }
        """,
    "css.css": """
        :root { --accent: #3366cc; }
        body { margin: 0 auto; max-width: 60rem; font-family: Georgia, serif; }
        h1, h2 { color: var(--accent); border-bottom: 1px solid #ddd; }
        a:hover { text-decoration: underline; }
        @media (max-width: 600px) {
          nav ul { display: none; }
          .column { float: none; width: 100%; padding: 0 4px; }
        }
        """,
    "Dockerfile": r"""
        FROM debian:bookworm-slim AS build
        ARG VERSION=1.4
        RUN apt-get update && apt-get install -y --no-install-recommends gcc make \
            && rm -rf /var/lib/apt/lists/*
        WORKDIR /src
        COPY . .
        RUN make release VERSION=$VERSION
        EXPOSE 8080
        ENTRYPOINT ["/src/out/server", "--port", "8080"]
        """,
    "go.go": """
        package main

        import (
        \t"fmt"
        \t"net/http"
        )

        type counter struct{ n int }

        func (c *counter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
        \tc.n++
        \tfmt.Fprintf(w, "visitor %d", c.n)
        }

        func main() {
        \tif err := http.ListenAndServe(":8080", &counter{}); err != nil {
        \t\tpanic(err)
        \t}
        }
        """,
    "html.html": """
        <!DOCTYPE html>
        <html lang="en">
        <head>
          <meta charset="utf-8">
          <title>Tide tables</title>
          <link rel="stylesheet" href="style.css">
        </head>
        <body>
          <h1>Tide tables</h1>
          <p>High water is at <b>06:40</b> and <b>19:05</b>.</p>
          <ul><li><a href="/north">North pier</a></li><li>South pier</li></ul>
        </body>
        </html>
        """,
    "ini.ini": """
        ; settings of the mail relay
        [server]
        host = mail.example.org
        port = 587
        tls = yes

        [limits]
        max_size = 25000000
        timeout = 30
        """,
    "java.java": """
        package org.example.bank;

        import java.math.BigDecimal;
        import java.util.ArrayList;
        import java.util.List;

        public class Account {
            private final List<BigDecimal> bookings = new ArrayList<>();

            public void book(BigDecimal amount) {
                if (amount == null) {
                    throw new IllegalArgumentException("amount");
                }
                bookings.add(amount);
            }
        }
        """,
    "javascript.js": """
        'use strict';
        const express = require('express');
        const app = express();

        app.get('/users/:id', async (req, res) => {
          const user = await db.find(u => u.id === req.params.id);
          if (!user) {
            return res.status(404).json({ error: 'no such user' });
          }
          res.json(user);
        });

        module.exports = app;
        """,
    "latex.tex": r"""
        \documentclass[11pt,a4paper]{article}
        \usepackage{amsmath}
        \title{On the sum of odd numbers}
        \author{A. Writer}
        \begin{document}
        \maketitle
        \section{Introduction}
        It is well known~\cite{euclid} that
        \begin{equation}
          \sum_{k=1}^{n} (2k-1) = n^2 .
        \end{equation}
        \end{document}
        """,
    "Makefile": """
        CC ?= gcc
        CFLAGS += -O2 -Wall
        OBJECTS := $(patsubst %.c,%.o,$(wildcard src/*.c))

        .PHONY: all clean
        all: program

        program: $(OBJECTS)
        \t$(CC) $(LDFLAGS) -o $@ $^

        clean:
        \trm -f program $(OBJECTS)
        """,
    "markdown.md": """
        # Garden planner

        Plan what to sow, and **when**.

        ## Install

        ```sh
        pip install garden-planner
        ```

        ## Use

        1. Create a file `garden.toml`.
        2. Run `garden plan`, see the [manual](docs/manual.md).
        """,
    "python.py": """
        import asyncio
        from dataclasses import dataclass, field


        @dataclass
        class Queue:
            jobs: list[str] = field(default_factory=list)

            async def drain(self) -> None:
                while self.jobs:
                    await asyncio.sleep(0.01)
                    print(f"done: {self.jobs.pop()!r}")


        if __name__ == "__main__":
            asyncio.run(Queue(["a", "b"]).drain())
        """,
    "rust.rs": """
        use std::collections::HashMap;

        #[derive(Debug, Default)]
        struct Tally<'a> {
            words: HashMap<&'a str, usize>,
        }

        impl<'a> Tally<'a> {
            fn count(&mut self, line: &'a str) {
                for word in line.split_whitespace() {
                    *self.words.entry(word).or_insert(0) += 1;
                }
            }
        }
        """,
    "shell.sh": """
        #!/bin/sh
        set -eu
        target="${1:-/tmp/backup}"
        mkdir -p "$target"
        for file in "$HOME"/*.txt; do
            [ -f "$file" ] || continue
            if ! cp -p "$file" "$target/$(basename "$file" .txt).bak"; then
                echo "cannot copy $file" >&2
                exit 1
            fi
        done
        """,
    "sql.sql": """
        CREATE TABLE customer (
            id INTEGER PRIMARY KEY,
            name VARCHAR(80) NOT NULL,
            joined DATE DEFAULT CURRENT_DATE
        );
        INSERT INTO customer (id, name) VALUES (1, 'Ada'), (2, 'Grace');
        SELECT c.name, COUNT(o.id) AS orders
        FROM customer c LEFT JOIN orders o ON o.customer_id = c.id
        GROUP BY c.name HAVING COUNT(o.id) > 3
        ORDER BY orders DESC;
        """,
    "svg.svg": """
        <svg xmlns="http://www.w3.org/2000/svg" width="120" height="80" viewBox="0 0 120 80">
          <rect x="5" y="5" width="110" height="70" fill="#eef" stroke="black"/>
          <circle cx="60" cy="40" r="25" fill="tomato"/>
          <path d="M10 70 L60 10 L110 70 Z" stroke="navy" fill="none"/>
        </svg>
        """,
    "toml.toml": """
        [package]
        name = "tides"
        version = "0.3.1"
        authors = ["A. Writer <writer@example.org>"]

        [dependencies]
        serde = { version = "1.0", features = ["derive"] }

        [[bin]]
        name = "tides"
        path = "src/main.rs"
        """,
    "xml.xml": """
        <?xml version="1.0" encoding="UTF-8"?>
        <catalog>
          <book id="b1"><author>Verne</author><title>The Mysterious Island</title></book>
          <book id="b2"><author>Shelley</author><title>Frankenstein</title></book>
          <!-- more to come -->
          <book id="b3"><author>Lem</author><title>Solaris</title></book>
        </catalog>
        """,
    "yaml.yaml": """
        services:
          web:
            image: nginx:1.25
            ports:
              - "8080:80"
            environment:
              - MODE=production
            depends_on: [database]
          database:
            image: postgres:16
        """,
}


def texts() -> Iterator[tuple[str, bytes]]:
    """Give the texts above, and those that are easier to compute than to write."""
    for name, text in TEXTS.items():
        yield name, textwrap.dedent(text).removeprefix("\n").encode()
    things = [{"id": n, "name": f"item {n}", "price": n * 1.5, "tags": ["a"]} for n in range(40)]
    yield "json.json", json.dumps(things, indent=2).encode()
    yield "jsonl.jsonl", "".join(json.dumps(thing) + "\n" for thing in things).encode()
    yield "csv.csv", "".join(f'{n},"item {n}",{n * 1.5:.2f}\n' for n in range(40)).encode()
    yield "plist.plist", plistlib.dumps({"Name": "tides", "Ports": [80, 443]})
    mail = EmailMessage()
    mail["From"], mail["To"] = "Ada <ada@example.org>", "grace@example.org"
    mail["Subject"], mail["Date"] = "The meeting", "Mon, 03 Mar 2025 10:00:00 +0000"
    mail.set_content("Hello Grace,\n\nshall we meet on Tuesday at ten?\n\nAda\n")
    yield "mail.eml", mail.as_bytes()
    prose = "Die Straße führt über den Fluß, und das Café liegt schön hinter den Hügeln. " * 80
    for encoding in ("utf-8", "latin-1", "utf-16"):
        yield f"prose in {encoding}", prose.encode(encoding)
    yield "numbers", b"one two three four five six seven"
    yield "list", b"Some words follow here - and `some` more.\n\n- one\n- two\n"  # rst, but unsure
    yield "random digits", random.Random(2).randbytes(3000).hex().encode()
    yield "random letters", bytes(random.Random(3).choices(range(33, 127), k=5000))


# --- samples of binary data ---------------------------------------------------------------------


def binaries(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Give files of binary formats; `folder` is for those that are made in place."""
    source = dict(texts())["python.py"]
    yield "archive.zip", zip_of({"python.py": source, "c.c": TEXTS["c.c"].encode()})
    manifest = b"Manifest-Version: 1.0\r\nMain-Class: org.example.Main\r\n\r\n"
    yield "java.jar", zip_of({"META-INF/MANIFEST.MF": manifest, "org/Main.class": bytes(99)})
    yield "archive.tar", tar_of("python.py", source)
    yield "packed.gz", gzip.compress(source, mtime=0)
    yield "packed.bz2", bz2.compress(source)
    yield "packed.xz", lzma.compress(source)
    yield "packed.zlib", zlib.compress(source)
    yield "picture.png", png()
    yield "picture.gif", gif()
    yield "picture.bmp", bmp()
    yield "sound.wav", wav()
    yield "paper.pdf", pdf()
    yield "birds.sqlite", sqlite(folder / "being made")
    yield "plist.bplist", plistlib.dumps({"Ports": list(range(99))}, fmt=plistlib.FMT_BINARY)
    yield "a.pickle", pickle.dumps({"bird": "wren", "squares": [n * n for n in range(99)]})
    code = marshal.dumps(compile(source, "python.py", "exec"))
    yield "module.pyc", importlib.util.MAGIC_NUMBER + bytes(12) + code
    yield "interpreter", Path(sys.executable).read_bytes()
    yield "random bytes", random.Random(5).randbytes(9000)
    yield "every byte", bytes(range(256))  # neither text nor anything else
    yield "zeros", bytes(5000)


def edges() -> Iterator[tuple[str, bytes]]:
    """Give files at the edges: at least 8 bytes, blocks of 4096, of which the model sees 1024."""
    yield "empty", b""
    for digits in ("61", "ff", "c3a9", "31323334353637", "3132333435363738", "31ff00fffefdfc"):
        yield f"bytes {digits}", bytes.fromhex(digits)
    source = dict(texts())["python.py"] * 30
    for size in (100, 1023, 1024, 1025, 2048, 4095, 4096, 4097, 8192):
        yield f"first {size} bytes", source[:size]
    yield "only white space", b" \t\r\n\v\f" * 100
    yield "white space that is none", b"\x1c\x85\xa0" * 100
    yield "white space around", b"\n" * 50 + source[:500] + b" " * 50
    yield "a block of white space before", b" " * 4096 + source
    yield "a block of white space after", source + b"\n" * 4096
    yield "seven bytes after white space", b" " * 40 + b"1234567"
    yield "a character cut at the end of the block", b" " * 4095 + "é".encode() * 9


def zip_of(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return stream.getvalue()


def tar_of(name: str, content: bytes) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def png() -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 32, 32, 8, 2, 0, 0, 0))
    pixels = (b"\0" + bytes(range(0, 192, 2))) * 32  # 32 lines: the filter's number, 32 times RGB
    data = chunk(b"IDAT", zlib.compress(pixels))
    return b"\x89PNG\r\n\x1a\n" + header + data + chunk(b"IEND", b"")


def gif() -> bytes:
    screen = struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + b"\xff\xff\xff\0\0\0"
    image = b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02D\x01\0"
    return b"GIF89a" + screen + image + b";"


def bmp() -> bytes:
    pixels = b"\xff\x20\x10" * 256
    info = struct.pack("<IiiHHIIiiII", 40, 16, 16, 1, 24, 0, len(pixels), 2835, 2835, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + len(pixels), 0, 0, 54) + info + pixels


def wav() -> bytes:
    tone = [round(20000 * math.sin(2 * math.pi * 440 * n / 8000)) for n in range(4000)]
    stream = io.BytesIO()
    with wave.open(stream, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(struct.pack(f"<{len(tone)}h", *tone))
    return stream.getvalue()


def pdf() -> bytes:
    content = b"BT /F1 24 Tf 72 720 Td (Hello, reader) Tj ET"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R"
        b" /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    out = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n"
    table = b"0000000000 65535 f \n"
    for number, body in enumerate(objects, 1):
        table += b"%010d 00000 n \n" % len(out)
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    trailer = b"trailer\n<< /Size 6 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % len(out)
    return out + b"xref\n0 6\n" + table + trailer


def sqlite(path: Path) -> bytes:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE bird (name TEXT, wingspan REAL)")
        database.executemany("INSERT INTO bird VALUES (?, ?)", [("wren", 0.15), ("heron", 1.8)])
    return path.read_bytes()
