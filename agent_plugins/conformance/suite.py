"""Gathers the trials of a plugin as cases, and runs them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from agent_plugins.conformance import samples, trials
from agent_plugins.conformance.subject import Hangs, Nonconformity, Subject
from agent_plugins.isolation import told, within
from agent_plugins.loader import LOAD_S
from agent_plugins.loader import check as check_shape
from agent_plugins.protocol import AgentPlugin
from app.core.errors import HaeError
from tools.registry import TOOLS


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that a plugin must do. ``area``: what kind of thing; ``subject``: of what."""

    area: str
    subject: str
    trial: Callable[[], None]

    def run(self) -> None:
        """Raises Nonconformity, saying what the plugin does wrong."""
        self.trial()

    def __str__(self) -> str:
        return f"{self.area}: {self.subject}"


@dataclass(frozen=True, slots=True)
class Result:
    """How a case went; ``fault`` is empty when it went well."""

    case: Case
    fault: str

    @property
    def passed(self) -> bool:
        return not self.fault


def cases(plugin: AgentPlugin) -> list[Case]:
    """All that the plugin must do. One that has not even the protocol's shape gets the one case that says so."""
    try:
        about = within(LOAD_S, lambda: check_shape(plugin))
    except Exception as error:
        return [Case("shape", "protocol", partial(_fail, error.detail if isinstance(error, HaeError) else told(error)))]
    return list(_cases(Subject(plugin, about, TOOLS)))


def _fail(why: str) -> None:
    raise Nonconformity(why)


def _cases(subject: Subject) -> Iterator[Case]:
    yield Case("shape", "protocol", lambda: None)
    yield Case("shape", "documents", partial(trials.documented, subject))
    for info in subject.about.requests:
        for area, trial in _PER_REQUEST.items():
            yield Case(area, info.path, partial(trial, subject, info))
        for how in ("full", "bare"):
            yield Case("answers", f"{info.path}, {how}", partial(trials.round_trip, subject, info, how))
        for problem in samples.problems():
            yield Case("errors", f"{info.path}, {problem['code']}", partial(trials.errors, subject, info, problem))
    yield Case("hostile", "paths", partial(trials.hostile_paths, subject))
    for event in samples.events():
        of = "of a job" if event.job_id else "of none"
        yield Case("events", f"{event.kind} {of}", partial(trials.event, subject, event))
    yield Case("events", "any", partial(trials.shows_some, subject))


_PER_REQUEST = {
    "example": trials.example,
    "same twice": trials.determinism,
    "nothing changed": trials.no_mutation,
    "threads": trials.threads,
    "unknown fields": trials.unknown_fields,
    "wrong values": trials.wrong_values,
    "hostile": trials.hostile_bodies,
    "one of several fails": trials.mixed,
    "broken tool": trials.failing_tool,
}


HANGS = 3
"""Cases that may hang before the others are not even tried: each costs seconds, and there are hundreds."""


def check(plugin: AgentPlugin) -> list[Result]:
    """Run all cases, one after the other."""
    results, hung = [], list[str]()
    for case in cases(plugin):
        fault = _fault(case, hung) if len(hung) < HANGS else f"not tried, because it hangs: {hung[0]}"
        results.append(Result(case, fault))
    return results


def _fault(case: Case, hung: list[str]) -> str:
    try:
        case.run()
    except Hangs as wrong:
        hung.append(str(wrong))
        return str(wrong)
    except Nonconformity as wrong:
        return str(wrong)
    except Exception as error:
        return f"{case} could not be tried: {told(error)}"
    return ""
