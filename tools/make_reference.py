"""Write the reference at the end of the pages in docs/ from the docstrings, or check that it is up to date.

    python -m tools.make_reference            # write
    python -m tools.make_reference --check    # exit with 1 if writing would change something

What stands above the marker of a page is written by hand; what stands below it is written here. Signatures come from
the stubs and the Python modules (griffe reads both without running them), docstrings from the built module.
"""

from __future__ import annotations

import argparse
import dataclasses
import enum
import inspect
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path

import griffe

import ortx
from ortx import coreml, providers
from ortx.config_keys import DYNAMIC_KEYS, RUN_KEYS, SESSION_KEYS, Key

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"

MARKER = "<!-- Below this line: written by tools/make_reference.py from the docstrings; do not edit. -->"

# Which page has which public name; each is on exactly one.
PAGES: Mapping[str, tuple[str, ...]] = {
    "runtime.md": ("configure", "load_library", "LibraryInfo", "available_providers", "trim_memory", "get_include"),
    "session.md": ("session", "session_from_bytes", "Session"),
    "values.md": ("Outputs", "tensor", "Tensor", "optional", "Optional", "sparse_tensor", "SparseTensor"),
    "binding.md": ("IOBinding",),
    "run-options.md": ("run_options", "RunOptions"),
    "batching.md": ("Batcher",),
    "processes.md": (),
    "inspection.md": ("ValueInfo", "MemoryInfo", "Metadata"),
    "providers.md": (),
    "custom-ops.md": ("load_custom_op_library", "CustomOpLibrary"),
    "weights.md": ("PrepackedWeights", "SessionPool"),
    "observability.md": ("Stats",),
    "errors.md": (
        *("Error", "ErrorCode"),
        *("Fail", "InvalidArgument", "NoSuchFile", "NoModel", "EngineError", "RuntimeException", "InvalidProtobuf"),
        *("ModelLoaded", "NotSupported", "InvalidGraph", "EpFail", "ModelLoadCanceled", "ModelRequiresCompilation"),
        *("NotFound", "DeviceReset"),
        *("InvalidType", "OptionError", "OptionTypeError", "CallError", "SessionClosed", "RunCancelled", "RunTimeout"),
        *("ForkedSession", "NotPicklable", "OutOfMemory", "FileError", "ExternalDataRefused"),
        *("LibraryError", "LibraryNotFound", "LibraryTooOld"),
        *("ProviderFallbackWarning", "UnknownConfigKeyWarning"),
    ),
}

# Names that a guide already speaks of and that are still to come, by page: they are moved to PAGES once they exist.
PENDING: Mapping[str, tuple[str, ...]] = {}


# --- which name is where --------------------------------------------------------------------------------------------


def problems_of_the_pages(
    public: Iterable[str], pages: Mapping[str, Iterable[str]], pending: Mapping[str, Iterable[str]]
) -> list[str]:
    """Return a sentence for every public name that is on no page or on two, and for every name that is not public."""
    public = set(public)
    placed: dict[str, str] = {}
    problems = []
    for page, names in pages.items():
        for name in names:
            if name in placed:
                problems.append(f"ortx.{name} is on two pages, {placed[name]} and {page}; leave one")
            if name not in public:
                problems.append(f"ortx.{name}, which is to be on {page}, does not exist; move it to PENDING")
            placed[name] = page
    waiting = {name: page for page, names in pending.items() for name in names}
    for name in sorted(public - set(placed)):
        if name in waiting:
            problems.append(f"ortx.{name} exists now: move it from PENDING to PAGES[{waiting[name]!r}]")
        else:
            problems.append(f"ortx.{name} is on no page; add it to PAGES in tools/make_reference.py")
    return problems


def slug(heading: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def heading_of(name: str) -> str:
    """Return the text of the heading of a public name or of a member such as ``Session.run``."""
    if "." in name:
        return f"`{name}`"
    return f"class `ortx.{name}`" if isinstance(getattr(ortx, name), type) else f"`ortx.{name}`"


# --- what griffe reads ----------------------------------------------------------------------------------------------


def load_package() -> griffe.Module:
    package = griffe.load("ortx", search_paths=[ROOT], allow_inspection=False, resolve_aliases=True)
    assert isinstance(package, griffe.Module)
    return package


def read_docstring(thing: object, name: str) -> list[griffe.DocstringSection]:
    """Return the sections of a docstring; Cython puts the signature, or a property's type, in front of it."""
    text = inspect.cleandoc(thing.__doc__ or "")
    text = re.sub(rf"\A{name.rpartition('.')[2]}(\(|: ).*\n\n", "", text)
    return griffe.Docstring(text, parser="numpy", parser_options={"warnings": False}).parsed


def formatted(definitions: Mapping[str, str]) -> dict[str, str]:
    """Break signatures into lines as ruff does."""
    source = "".join(f"def {signature}: ...\n" for signature in definitions.values())
    command = [sys.executable, "-m", "ruff", "format", "--isolated", "--line-length", "100"]
    command += ["--stdin-filename", "signatures.pyi", "-"]
    done = subprocess.run(command, input=source, capture_output=True, text=True, check=True, encoding="utf-8")
    blocks = re.split(r"(?m)^(?=def )", done.stdout)[1:]
    return {
        name: block.strip().removeprefix("def ").removesuffix(": ...")
        for name, block in zip(definitions, blocks, strict=True)
    }


class Reference:
    """The reference of all pages."""

    def __init__(self) -> None:
        package = load_package()
        self.classes: dict[str, griffe.Class] = {}
        functions: dict[str, griffe.Function] = {}
        self.page_of: dict[str, str] = {}
        for page, names in PAGES.items():
            for name in names:
                self.page_of[name] = page
                found = package[name]
                found = found.final_target if isinstance(found, griffe.Alias) else found
                if isinstance(found, griffe.Function):
                    functions[name] = found
                    continue
                assert isinstance(found, griffe.Class), f"{name} is neither a function nor a class"
                self.classes[name] = found
                for member in public_members(found):
                    self.page_of[f"{name}.{member.name}"] = page
                    if isinstance(member, griffe.Function):
                        functions[f"{name}.{member.name}"] = member
        signatures = {name: function.signature() for name, function in functions.items()}
        for name, class_ in self.classes.items():
            constructor = class_.members.get("__init__")
            parameters = constructor.parameters if isinstance(constructor, griffe.Function) else griffe.Parameters()
            if is_for_users(getattr(ortx, name), parameters):
                signatures[name] = griffe.Function(name, parameters=parameters).signature()
        self.signatures = formatted(signatures)

    def text_of(self, page: str) -> str:
        """Return what stands below the marker of a page."""
        lines = ["", "## Reference", ""]
        for name in PAGES[page]:
            lines += self.class_lines(name, page) if name in self.classes else self.function_lines(name, page)
        for table in TABLES.get(page, ()):
            lines += table()
        return "\n".join(lines).rstrip("\n") + "\n"

    # --- one name

    def function_lines(self, name: str, page: str) -> Iterator[str]:
        thing: object = ortx
        for part in name.split("."):
            thing = getattr(thing, part)
        yield from (f"{'####' if '.' in name else '###'} {heading_of(name)}", "")
        yield from ("```python", self.signatures[name], "```", "")
        yield from self.section_lines(read_docstring(thing, name), name, page)

    def class_lines(self, name: str, page: str) -> Iterator[str]:
        class_ = getattr(ortx, name)
        bases = [base.__name__ for base in class_.__bases__ if base is not object]
        yield from (f"### {heading_of(name)}", "")
        if name in self.signatures:
            yield from ("```python", self.signatures[name], "```", "")
        if bases:
            yield from (f"Derives from {', '.join(self.linked(base, name, page) for base in bases)}.", "")
        if issubclass(class_, ortx.Error) and class_ is not ortx.Error:
            code = ortx.ErrorCode(class_.code)
            yield from (f"`code` is `ErrorCode.{code.name}` ({code.value}).", "")
        yield from self.section_lines(read_docstring(class_, name), name, page)
        if issubclass(class_, enum.Enum):
            yield from table_lines(("name", "value"), ((f"`{m.name}`", str(m.value)) for m in class_))
            return
        members = public_members(self.classes[name])
        for member in sorted(members, key=lambda member: isinstance(member, griffe.Function)):
            full_name = f"{name}.{member.name}"
            if isinstance(member, griffe.Function):
                yield from self.function_lines(full_name, page)
            elif isinstance(member, griffe.Attribute):
                access = "can be set" if "writable" in member.labels else "read-only"
                yield from (f"#### {heading_of(full_name)}", "", f"`{member.annotation}`, {access}.", "")
                yield from self.section_lines(read_docstring(vars(class_)[member.name], member.name), full_name, page)

    def section_lines(self, sections: Iterable[griffe.DocstringSection], name: str, page: str) -> Iterator[str]:
        for section in sections:
            if isinstance(section, griffe.DocstringSectionText):
                for paragraph in re.split(r"\n\n+", section.value.strip()):
                    yield from (self.paragraph(paragraph, name, page), "")
            elif isinstance(section, griffe.DocstringSectionAdmonition):
                yield from (f"**{section.title}.** {self.markdown(section.value.contents, name, page)}", "")
            elif isinstance(section, griffe.DocstringSectionParameters | griffe.DocstringSectionAttributes):
                yield from (f"**{section.kind.value.capitalize()}**", "")
                # Names that share one description come one by one from the parser.
                for _, group in groupby(section.value, lambda item: (item.description, str(item.annotation))):
                    items = list(group)
                    names = ", ".join(f"`{item.name}`" for item in items)
                    kind = self.kind_of(items[0], name, page)
                    yield f"- **{names}**{kind}: {self.markdown(items[0].description, name, page)}"
                yield ""
            elif isinstance(section, griffe.DocstringSectionReturns):
                for item in section.value:
                    text = self.markdown(item.description, name, page)
                    yield f"**Returns** {self.types(str(item.annotation), name, page)}" + (f": {text}" if text else ".")
                    yield ""
            elif isinstance(section, griffe.DocstringSectionRaises):
                yield from ("**Raises**", "")
                for error in section.value:
                    text = self.markdown(error.description, name, page)
                    yield f"- {self.types(str(error.annotation), name, page)}: {text}"
                yield ""
            else:
                raise NotImplementedError(f"{name}: a section of the kind {section.kind.value}")

    def kind_of(self, item: griffe.DocstringNamedElement, name: str, page: str) -> str:
        words = []
        if item.annotation is not None and str(item.annotation) != "optional":
            words.append(self.types(str(item.annotation), name, page))
        value = getattr(item, "value", None)
        if value is not None:
            words.append(f"default `{value}`")
        return f" ({', '.join(words)})" if words else ""

    # --- text

    def types(self, text: str, name: str, page: str) -> str:
        """Link the classes in a description of a type."""
        return re.sub(r"\b[A-Z]\w+", lambda m: self.linked(m[0], name, page) if m[0] in self.page_of else m[0], text)

    def paragraph(self, text: str, name: str, page: str) -> str:
        """Turn a paragraph into Markdown; the lines of a list or of code stay lines."""
        lines = text.splitlines()
        if any(line.startswith((" ", "- ", "* ", ">>>", "|")) for line in lines):
            return "\n".join(line[: len(line) - len(line.lstrip())] + self.markdown(line, name, page) for line in lines)
        return self.markdown(text, name, page)

    def markdown(self, text: str, name: str, page: str) -> str:
        """Turn a paragraph of a docstring into one line of Markdown."""
        text = " ".join(text.split())
        return re.sub(r"``(.+?)``|`([^`]+)`", lambda m: f"`{m[1]}`" if m[1] else self.linked(m[2], name, page), text)

    def linked(self, word: str, name: str, page: str) -> str:
        """Return a word as code, linked if it is a public name, or a member of the class that `name` belongs to."""
        found = word.removeprefix("ortx.")
        if "." not in word and not word[0].isupper():  # a bare word may be a parameter's name
            found = f"{name.partition('.')[0]}.{word}"
        target = self.page_of.get(found)
        if target is None or found == name:
            return f"`{word}`"
        return f"[`{word}`]({'' if target == page else target}#{slug(heading_of(found))})"


def is_for_users(class_: type, parameters: griffe.Parameters) -> bool:
    """Whether users call a class themselves: it is no error, nothing that ortx returns, and not made by a function."""
    made_by_ortx = issubclass(class_, BaseException | enum.Enum) or dataclasses.is_dataclass(class_)
    return not made_by_ortx and not any(str(parameter.annotation) == "Never" for parameter in parameters)


def public_members(class_: griffe.Class) -> list[griffe.Function | griffe.Attribute]:
    """Return the methods and properties; what is mere data is described by the class."""
    return [
        member
        for name, member in class_.members.items()
        if not name.startswith("_")
        and (
            isinstance(member, griffe.Function)
            or (isinstance(member, griffe.Attribute) and "property" in member.labels)
        )
    ]


# --- tables ---------------------------------------------------------------------------------------------------------


def table_lines(titles: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    titles = list(titles)
    yield f"| {' | '.join(titles)} |"
    yield f"|{'---|' * len(titles)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |"
    yield ""


def key_lines(title: str, keys: Mapping[str, Key]) -> Iterator[str]:
    yield from (f"### {title}", "")
    yield "The version is that of the first ONNX Runtime that has the key; 1.20 also stands for what is older. Without"
    yield from ("one, other builds than the CPU's have it, from a version that is not known.", "")
    rows = ((f"`{name}`", key.kind.expected, f"1.{key.since}" if key.since else "") for name, key in keys.items())
    yield from table_lines(("key", "value", "since"), rows)


def session_keys() -> Iterator[str]:
    yield from key_lines("Keys of `config_entries`", SESSION_KEYS)
    yield from key_lines("Keys of `Session.set_ep_dynamic_options`", DYNAMIC_KEYS)


def run_keys() -> Iterator[str]:
    yield from key_lines("Keys of `RunOptions.add_config_entry`", RUN_KEYS)


def provider_names() -> Iterator[str]:
    yield from ("### Names of providers", "")
    others: dict[str, list[str]] = {}
    for other, word in providers._OTHER_WORDS.items():
        others.setdefault(word, []).append(f"`{other}`")
    rows = (
        (f"`{word}`", f"`{provider.name}`", ", ".join(others.get(word, [])))
        for word, provider in providers._PROVIDERS.items()
    )
    yield from table_lines(("short word", "full name", "other words"), rows)
    yield from ("### Providers whose runs wait for each other", "")
    rows = (
        (f"`{word}`", " or ".join(f"with `{option}`" for option in options) or "always", why)
        for word, (options, why) in providers._ONE_RUN_AT_A_TIME.items()
    )
    yield from table_lines(("short word", "when", "why"), rows)
    yield from ("### Providers that ortx does not append", "")
    yield from table_lines(("word", "why"), ((f"`{w}`", why) for w, why in providers._NOT_APPENDED.items()))


def coreml_flags() -> Iterator[str]:
    yield from ("### Bits of `coreml_flags`", "")
    rows = ((f"`0x{flag:03x}`", f"`{flag.name}`", f"`{coreml._FIELD_OF_BIT[flag]}`") for flag in coreml.CoreMLFlag)
    yield from table_lines(("bit", "name", "the field that says the same"), rows)


TABLES: Mapping[str, tuple[Callable[[], Iterator[str]], ...]] = {
    "session.md": (session_keys,),
    "run-options.md": (run_keys,),
    "providers.md": (provider_names, coreml_flags),
}


# --- the command ----------------------------------------------------------------------------------------------------


def wanted_pages() -> Iterator[tuple[Path, str]]:
    """Yield every page that has a reference, with the text that it should have."""
    reference = Reference()
    for page in PAGES:
        file = DOCS / page
        guide = file.read_text(encoding="utf-8").partition(MARKER)[0].rstrip("\n")
        yield file, f"{guide}\n\n{MARKER}\n{reference.text_of(page)}"


def main() -> int:
    """Write or check the reference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say whether it is up to date")
    arguments = parser.parse_args()
    problems = problems_of_the_pages(ortx.__all__, PAGES, PENDING)
    if not problems:
        for file, wanted in wanted_pages():
            if file.read_text(encoding="utf-8") == wanted:
                continue
            if arguments.check:
                problems.append(f"docs/{file.name} is out of date; run `python -m tools.make_reference`")
            else:
                file.write_text(wanted, encoding="utf-8", newline="\n")
    print(*problems, sep="\n", end="\n" if problems else "")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
