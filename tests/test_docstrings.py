"""Every public name says what it is: the package, its functions, its classes, their methods and attributes."""

from __future__ import annotations

import ast
import enum
import importlib
import inspect
import re
from pathlib import Path

import pytest

import ortx
from ortx import _core

MODULES = ["ortx", *(f"ortx.{file.stem}" for file in sorted(Path(ortx.__file__).parent.glob("[!_]*.py")))]
PUBLIC = {name: getattr(ortx, name) for name in ortx.__all__}
CLASSES = {name: value for name, value in PUBLIC.items() if isinstance(value, type)}
FUNCTIONS = {name: value for name, value in PUBLIC.items() if name not in CLASSES}

# Compiled methods and properties have descriptors of their own kinds; a field is data that the class describes.
MEMBERS = {
    f"{class_name}.{name}": value
    for class_name, class_ in CLASSES.items()
    for name, value in vars(class_).items()
    if not name.startswith("_")
}
METHODS = {name: value for name, value in MEMBERS.items() if callable(value)}
PROPERTIES = {
    name: value for name, value in MEMBERS.items() if isinstance(value, property) or inspect.isgetsetdescriptor(value)
}
FIELDS = [
    name
    for name in MEMBERS
    if name not in METHODS
    and name not in PROPERTIES
    and not issubclass(CLASSES[name.partition(".")[0]], enum.Enum)  # its members are ORT's own names
]
WITH_PARAMETERS = FUNCTIONS | METHODS
OPTIONS = {
    "configure": _core.RuntimeConfiguration,
    "session": _core.SessionOptions,
    "run_options": _core.RunOptionsTable,
}


def docstring(thing: object, name: str) -> str:
    """Return the docstring as it was written: Cython puts the signature, or a property's type, in front."""
    text = inspect.cleandoc(thing.__doc__ or "")
    return re.sub(rf"\A{name.rpartition('.')[2]}(\(|: ).*\n\n", "", text)


def parameters(function: object) -> list[str]:
    """Return the parameters that have names for the caller."""
    return [
        parameter.name
        for parameter in inspect.signature(function).parameters.values()
        if parameter.name != "self" and parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
    ]


def test_the_walk_reaches_every_kind_of_public_name():
    assert {"Session", "ErrorCode", "CallError", "ValueInfo"} <= set(CLASSES)
    assert {"session", "configure"} <= set(FUNCTIONS)
    assert {"Session.run", "Outputs.asdict", "ValueInfo.asdict"} <= set(METHODS)
    assert {"Session.closed", "RunOptions.tag"} <= set(PROPERTIES)
    assert {"ValueInfo.name", "Error.code", "LibraryInfo.version"} <= set(FIELDS)
    assert parameters(ortx.Session.run) == ["inputs", "output_names", "run_options", "timeout"]
    assert docstring(ortx.Session.closed, "Session.closed").startswith("Whether")
    assert docstring(ortx.session, "session").startswith("Load")


@pytest.mark.parametrize("name", MODULES)
def test_a_module_has_a_docstring_whose_first_line_is_a_sentence(name):
    first, *_ = inspect.cleandoc(importlib.import_module(name).__doc__ or "").splitlines()
    assert first.endswith(".")


@pytest.mark.parametrize("name", [*CLASSES, *FUNCTIONS, *METHODS, *PROPERTIES])
def test_a_public_name_has_a_docstring_whose_first_line_is_a_sentence(name):
    text = docstring((PUBLIC | MEMBERS)[name], name)
    assert text
    assert text.splitlines()[0].endswith(".")


@pytest.mark.parametrize(
    ("name", "parameter"),
    [(name, parameter) for name, value in WITH_PARAMETERS.items() for parameter in parameters(value)],
)
def test_a_parameter_is_mentioned(name, parameter):
    assert re.search(rf"\b{parameter}\b", docstring(WITH_PARAMETERS[name], name))


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_is_described_by_its_class_or_the_one_that_has_it_first(name):
    class_name, _, field = name.rpartition(".")
    bases = [base for base in CLASSES[class_name].__mro__ if field in vars(base)]
    assert any(re.search(rf"(?m)^{field} : ", docstring(base, base.__name__)) for base in bases)


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_is_described_with_its_default(name):
    described = {}
    for options_, type_, default in re.findall(
        r"(?m)^(\w+(?:, \w+)*) : (.*?), (?:optional|default (.+))$", docstring(FUNCTIONS[name], name)
    ):
        assert type_
        described |= dict.fromkeys(options_.split(", "), ast.literal_eval(default or "None"))
    expected = {field: known.default for field, known in OPTIONS[name].fields.items()}
    assert {option: described.get(option, "not described") for option in expected} == expected
    assert set(described) - set(expected) <= set(parameters(FUNCTIONS[name]))
