"""How the package is laid out, where the import contracts cannot see it: inside functions and behind re-exports.

Each rule is a function from a module to what is wrong with it. It is shown to find a planted fault, then held against
every module of the package.
"""

import ast
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path

import attrs
import pytest

import ctlha_trio

MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 70

PURE = ("ctlha_trio._vocabulary", "ctlha_trio.wire", "ctlha_trio.pair")
IMPURE_MODULES = frozenset(
    {"trio", "time", "random", "secrets", "socket", "ssl", "os", "threading", "asyncio", "logging"}
    | {"select", "selectors", "subprocess", "importlib"}
)

PORTS: dict[str, tuple[str, ...]] = {
    "ctlha_trio.seams": tuple(
        f"ctlha_trio.seams.{module}"
        for module in (
            "_types",
            "_acquire",
            "_run_in_thread",
            "_address",
            "_buffers",
            "_folders",
            "_key_files",
            "_regular_files",
        )
    ),
    "ctlha_trio.arbiter": (),
}
"""Packages whose real forms are chosen outside, and the modules of theirs that anybody may use."""
COMPOSITION_ROOTS = ("ctlha_trio.cli", "ctlha_trio.bench", "ctlha_trio.testing")

PROTOCOL_PARTS = tuple(f"ctlha_trio.{part}" for part in ("link", "dma", "store", "ha"))
SLEEPS = frozenset({"trio.sleep", "trio.sleep_until"})
TIMEOUTS = frozenset({"trio.current_time", "trio.move_on_after", "trio.move_on_at", "trio.fail_after", "trio.fail_at"})
OTHER_CLOCKS = frozenset({"time.time", "time.time_ns", "time.sleep"})


@attrs.frozen
class Module:
    """One source file of the package, or a piece of text that pretends to be one."""

    name: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    def within(self, *packages: str) -> bool:
        return any(self.name == package or self.name.startswith(f"{package}.") for package in packages)


@attrs.frozen
class Import:
    """``import module`` (no name) or ``from module import name``."""

    line: int
    module: str
    name: str | None

    @property
    def dotted(self) -> str:
        return self.module if self.name is None else f"{self.module}.{self.name}"


Rule = Callable[[Module], Iterator[str]]


def read_package(root: Path) -> dict[str, Module]:
    modules = {}
    for file in sorted(root.rglob("*.py")):
        parts = file.relative_to(root.parent).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        modules[name] = Module(name, file.read_text(encoding="utf-8"))
    return modules


PACKAGE = read_package(Path(ctlha_trio.__file__).parent)


def imports_in(tree: ast.AST) -> Iterator[Import]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (Import(node.lineno, alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield from (Import(node.lineno, module, alias.name) for alias in node.names)


def functions_in(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def uses_in(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every dotted name that is read, and every ``from module import name`` as ``module.name``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield node.lineno, f"{node.value.id}.{node.attr}"
        elif isinstance(node, ast.Name):
            yield node.lineno, node.id
    yield from ((found.line, found.dotted) for found in imports_in(tree) if found.name is not None)


def origin_of(package: str, name: str) -> str:
    """The module that a package's re-exported name comes from; the package itself if it is defined there."""
    for found in imports_in(PACKAGE[package].tree):
        if found.name == name:
            return found.module
    return package


def keeps_imports_plain(module: Module) -> Iterator[str]:
    """Absolute, never of the whole package: what imports that could reach anything behind the contracts' back."""
    for found in imports_in(module.tree):
        if found.module.startswith("."):
            yield f"line {found.line}: relative import"
        elif found.name == "*":
            yield f"line {found.line}: everything from {found.module}"
        elif found.module == "ctlha_trio" and (found.name is None or f"ctlha_trio.{found.name}" not in PACKAGE):
            yield f"line {found.line}: the package itself"


def stays_pure(module: Module) -> Iterator[str]:
    """Nothing of time, chance or I/O in the pure parts, and no import that runs only when a function does."""
    if not module.within(*PURE):
        return
    for found in imports_in(module.tree):
        if found.module.partition(".")[0] in IMPURE_MODULES:
            yield f"line {found.line}: {found.module}"
    for function in functions_in(module.tree):
        yield from (f"line {found.line}: {found.dotted} in {function.name}" for found in imports_in(function))
    yield from (f"line {line}: {used}" for line, used in uses_in(module.tree) if used in {"__import__", "open"})


def leaves_private_modules_alone(module: Module) -> Iterator[str]:
    """An underscored module is imported inside the package that holds it and nowhere else."""
    for found in imports_in(module.tree):
        parts = found.dotted.split(".")
        for index, part in enumerate(parts[1:], 1):
            holder, private = ".".join(parts[:index]), ".".join(parts[: index + 1])
            if part.startswith("_") and private in PACKAGE and not module.within(holder):
                yield f"line {found.line}: {private}"


def names_no_real_form(module: Module) -> Iterator[str]:
    """Real clocks, disks, transports and arbiters are put in by the composition roots; all others see their types."""
    if module.within(*COMPOSITION_ROOTS):
        return
    for package, open_to_all in PORTS.items():
        if module.within(package):
            continue
        for found in imports_in(module.tree):
            if found.module == package and found.name is not None:
                origin = origin_of(package, found.name)
            elif found.dotted == package:
                origin = package
            elif found.module.startswith(f"{package}."):
                origin = found.module
            else:
                continue
            if Module(origin, "").within(package) and origin not in open_to_all:
                yield f"line {found.line}: {found.dotted}, which is from {origin}"


def takes_time_from_the_clock(module: Module) -> Iterator[str]:
    """One module sleeps on Trio's clock. The parts that run the protocol do not read it or use its timeouts either."""
    forbidden = OTHER_CLOCKS
    if module.name != "ctlha_trio.seams._clock":
        forbidden |= SLEEPS
    if module.within(*PROTOCOL_PARTS):
        forbidden |= TIMEOUTS
    yield from (f"line {line}: {used}" for line, used in uses_in(module.tree) if used in forbidden)


def prints_nothing(module: Module) -> Iterator[str]:
    yield from (f"line {line}: print" for line, used in uses_in(module.tree) if used == "print")


def is_of_readable_size(module: Module) -> Iterator[str]:
    lines = len(module.text.splitlines())
    if lines > MAX_MODULE_LINES:
        yield f"{lines} lines, more than {MAX_MODULE_LINES}"
    for function in functions_in(module.tree):
        length = (function.end_lineno or function.lineno) - function.lineno + 1
        if length > MAX_FUNCTION_LINES:
            yield f"line {function.lineno}: {function.name} has {length} lines, more than {MAX_FUNCTION_LINES}"


RULES: tuple[Rule, ...] = (
    keeps_imports_plain,
    stays_pure,
    leaves_private_modules_alone,
    names_no_real_form,
    takes_time_from_the_clock,
    prints_nothing,
    is_of_readable_size,
)


def in_function(body: str) -> str:
    return f"def f() -> None:\n    {body}\n"


PLANTED: tuple[tuple[Rule, str, str], ...] = (
    (keeps_imports_plain, "ctlha_trio.link", "from . import _codec"),
    (keeps_imports_plain, "ctlha_trio.link", "from ..ha import Node"),
    (keeps_imports_plain, "ctlha_trio.link", "import ctlha_trio"),
    (keeps_imports_plain, "ctlha_trio.link", "from ctlha_trio import run_node"),
    (keeps_imports_plain, "ctlha_trio.link", "from ctlha_trio.wire import *"),
    (stays_pure, "ctlha_trio.wire", "import time"),
    (stays_pure, "ctlha_trio.wire._codec", "from os import path"),
    (stays_pure, "ctlha_trio.pair._core", in_function("import trio")),
    (stays_pure, "ctlha_trio.pair._core", in_function("from trio.lowlevel import checkpoint")),
    (stays_pure, "ctlha_trio.pair._core", in_function("import json")),
    (stays_pure, "ctlha_trio.pair._core", in_function("__import__('trio')")),
    (stays_pure, "ctlha_trio.pair._core", "import importlib"),
    (stays_pure, "ctlha_trio._vocabulary", in_function("open('x')")),
    (leaves_private_modules_alone, "ctlha_trio.ha._node", "from ctlha_trio.pair._record import Record"),
    (leaves_private_modules_alone, "ctlha_trio.ha._node", "from ctlha_trio.pair import _record"),
    (leaves_private_modules_alone, "ctlha_trio.cli", in_function("import ctlha_trio.seams._types")),
    (names_no_real_form, "ctlha_trio.link", "from ctlha_trio.seams import TrioClock"),
    (names_no_real_form, "ctlha_trio.ha", in_function("from ctlha_trio.seams import TrioClock as Clock")),
    (names_no_real_form, "ctlha_trio.ha", "from ctlha_trio.seams._clock import TrioClock"),
    (names_no_real_form, "ctlha_trio.ha", "from ctlha_trio.seams import _clock"),
    (names_no_real_form, "ctlha_trio.ha", "import ctlha_trio.seams"),
    (names_no_real_form, "ctlha_trio", "from ctlha_trio.arbiter import SqliteArbiter"),
    (names_no_real_form, "ctlha_trio.door", "from ctlha_trio import arbiter"),
    (takes_time_from_the_clock, "ctlha_trio.cli", "import trio\ntrio.sleep(1)"),
    (takes_time_from_the_clock, "ctlha_trio.seams._tls", in_function("from trio import sleep")),
    (takes_time_from_the_clock, "ctlha_trio.seams._clock", "import time\nnow = time.time()"),
    (takes_time_from_the_clock, "ctlha_trio.ha", in_function("from trio import current_time")),
    (takes_time_from_the_clock, "ctlha_trio.link._reader", "import trio\nwith trio.move_on_after(1): ..."),
    (prints_nothing, "ctlha_trio.cli", "print('done')"),
    (prints_nothing, "ctlha_trio.cli", "show = print"),
    (is_of_readable_size, "ctlha_trio.cli", "x = 1\n" * 401),
    (is_of_readable_size, "ctlha_trio.cli", "class C:\n    async def f(self):\n" + "        x = 1\n" * 70),
)

ALLOWED: tuple[tuple[Rule, str, str], ...] = (
    (keeps_imports_plain, "ctlha_trio.link", "from ctlha_trio import _errors\nimport ctlha_trio.wire"),
    (stays_pure, "ctlha_trio.wire", "import struct\nfrom ctlha_trio._errors import RemoteProtocolError"),
    (stays_pure, "ctlha_trio.link", in_function("import time")),
    (leaves_private_modules_alone, "ctlha_trio.pair", "from ctlha_trio.pair._record import Record"),
    (leaves_private_modules_alone, "ctlha_trio.ha._node", "from ctlha_trio._errors import BusyError"),
    (names_no_real_form, "ctlha_trio.link", "from ctlha_trio.seams import Clock, Transport"),
    (names_no_real_form, "ctlha_trio.ha", "from ctlha_trio.seams import SwapOutcome, parse_address"),
    (names_no_real_form, "ctlha_trio.cli._node", "from ctlha_trio.seams import TrioClock"),
    (names_no_real_form, "ctlha_trio.seams._tls", "from ctlha_trio.seams._clock import TrioClock"),
    (takes_time_from_the_clock, "ctlha_trio.seams._clock", "import trio\ntrio.sleep_until(1)"),
    (takes_time_from_the_clock, "ctlha_trio.door", "import trio\nwith trio.move_on_after(1): ..."),
    (prints_nothing, "ctlha_trio.cli", "echo('print')"),
    (is_of_readable_size, "ctlha_trio.cli", "def f():\n" + "    x = 1\n" * 69),
)


def planted_id(value: object) -> str:
    return getattr(value, "__name__", str(value).strip().replace("\n", "; ")[:60])


@pytest.mark.parametrize(("rule", "name", "text"), PLANTED, ids=planted_id)
def test_rule_finds_a_planted_fault(rule: Rule, name: str, text: str) -> None:
    assert list(rule(Module(name, text)))


@pytest.mark.parametrize(("rule", "name", "text"), ALLOWED, ids=planted_id)
def test_rule_accepts_what_is_allowed(rule: Rule, name: str, text: str) -> None:
    assert list(rule(Module(name, text))) == []


@pytest.mark.parametrize("rule", RULES, ids=planted_id)
def test_package_keeps_the_rule(rule: Rule) -> None:
    broken = {f"{module.name}: {fault}" for module in PACKAGE.values() for fault in rule(module)}
    assert sorted(broken) == []


def test_the_rules_see_the_whole_package() -> None:
    assert {"ctlha_trio", "ctlha_trio._vocabulary", "ctlha_trio.wire", "ctlha_trio.cli"} <= PACKAGE.keys()
    assert origin_of("ctlha_trio.seams", "Clock") == "ctlha_trio.seams._types"


def test_package_is_marked_as_typed() -> None:
    assert Path(ctlha_trio.__file__).with_name("py.typed").is_file()
