"""How a bug is planted into a process that is about to run.

It changes the source of some modules as they are imported, in memory, so the product holds neither the bugs nor a
switch for them. Text that is not found exactly once is an error: a bug that the product has outgrown says so.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from types import CodeType, ModuleType


class OutgrownError(Exception):
    """A planted bug does not find what it changes."""


@dataclass(frozen=True, slots=True)
class Change:
    """In ``module``, the one place that reads ``old`` becomes ``new``."""

    module: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Bug:
    """``breaks``: what goes wrong, in a sentence or two. ``schema``: statements that take a guard out of the database.

    ``shows``: names of violations, at least one of which such a run must report; ``faults``: kinds that make it likely.
    """

    name: str
    breaks: str
    changes: tuple[Change, ...] = ()
    schema: tuple[str, ...] = ()
    shows: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()


def altered(module: str, source: str, changes: Sequence[Change]) -> str:
    """The source with every change made. Raises OutgrownError."""
    for change in changes:
        found = source.count(change.old)
        if found != 1:
            raise OutgrownError(f"{module} reads {change.old!r} {found} times, not once")
        source = source.replace(change.old, change.new)
    return source


def modules(bug: Bug) -> dict[str, str]:
    """The changed source of every module that the bug changes, by name. Raises OutgrownError."""
    return {module: altered(module, _source(module), changes) for module, changes in _by_module(bug).items()}


def plant(bug: Bug) -> None:
    """Change what this process will import. Raises OutgrownError, also when it has imported some of it already."""
    for module in modules(bug):
        if module in sys.modules:
            raise OutgrownError(f"{module} has been imported before the bug {bug.name} could be planted")
    sys.meta_path.insert(0, _Finder(_by_module(bug)))


def _by_module(bug: Bug) -> dict[str, list[Change]]:
    by_module: dict[str, list[Change]] = defaultdict(list)
    for change in bug.changes:
        by_module[change.module].append(change)
    return by_module


class _Finder(MetaPathFinder):
    """Finds the modules to be changed, and leaves all others to the finders behind it."""

    def __init__(self, changes: Mapping[str, Sequence[Change]]) -> None:
        self._changes = changes

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in self._changes:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        if spec is None or spec.origin is None:
            raise OutgrownError(f"there is no module {fullname}")
        spec.loader = _Loader(fullname, spec.origin, self._changes[fullname])
        return spec


class _Loader(SourceFileLoader):
    """Compiles the changed source; what is compiled in `__pycache__` is neither used nor written."""

    def __init__(self, fullname: str, path: str, changes: Sequence[Change]) -> None:
        super().__init__(fullname, path)
        self._module_changes = changes

    def get_code(self, fullname: str) -> CodeType | None:
        changed = altered(fullname, self.get_data(self.path).decode(), self._module_changes)
        code: CodeType = compile(changed, self.path, "exec", dont_inherit=True)
        return code


def _source(module: str) -> str:
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise OutgrownError(f"there is no module {module}")
    with open(spec.origin, encoding="utf-8") as file:
        return file.read()
