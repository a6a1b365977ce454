"""When a cron expression is due, in the time of a place: five fields, so once a minute at most.

Where clocks are turned, an expression goes by the clock on the wall, as cron does (crontab(5) of Debian): what falls
into the hour that is left out runs at its end, what falls into the hour that comes twice runs in the first of them,
unless the expression names no hour (``*`` or ``*/2``): that runs on as time goes.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from croniter import croniter
from croniter.croniter import CroniterError

from app.core.errors import InvalidInput

_FIELD = re.compile(r"[0-9A-Za-z*/,#?-]+")
_WORDS = re.compile(r"[A-Za-z]+")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_KNOWN = frozenset({*_MONTHS, "sun", "mon", "tue", "wed", "thu", "fri", "sat", "l"})


class Cron:
    """An expression in a time zone. Raises InvalidInput where there is no such thing, or it is never due."""

    def __init__(self, expression: str, zone: str) -> None:
        fields = expression.split()
        words = {word.lower() for word in _WORDS.findall(expression)}
        # croniter also takes seconds, years and fields that it draws by lot.
        if len(fields) != 5 or not all(map(_FIELD.fullmatch, fields)) or not words <= _KNOWN:
            raise _wrong(expression)
        try:
            self._zone = ZoneInfo(zone)
        except (KeyError, ValueError, OSError) as error:
            raise InvalidInput(
                f"there is no time zone {zone[:64]!r}",
                field="timezone",
                next_action="Name one of the IANA database, such as UTC or Europe/Berlin.",
            ) from error
        self._expression = " ".join(fields).lower()
        self._by_the_clock = not fields[1].startswith("*")
        try:
            self.after(datetime.now(UTC))
        except CroniterError as error:
            raise _wrong(expression) from error

    def after(self, at: datetime) -> datetime:
        """The first time it is due after ``at``, in UTC. Raises CroniterError when there is none in 50 years."""
        return self._by_clock(at) if self._by_the_clock else self._as_time_goes(at)

    def _by_clock(self, at: datetime) -> datetime:
        """Times on the clock in their order, each taken at the first moment that shows it, or at the end of a gap."""
        times = croniter(self._expression, (at + self._offset(at)).replace(tzinfo=None), ret_type=datetime)
        while True:
            shown: datetime = times.get_next()
            first = shown.replace(tzinfo=self._zone).astimezone(UTC)
            second = shown.replace(tzinfo=self._zone, fold=1).astimezone(UTC)
            due = self._change(second, first) if second < first else first
            if due > at:
                return due

    def _as_time_goes(self, at: datetime) -> datetime:
        """Times by the offset that holds, from one change of it to the next."""
        while True:
            due = self._by_offset(at, self._offset(at))
            changed = self._next_change(at, due)
            if changed is None:
                return due
            # It may be due at the change itself, by the offset after it.
            due = self._by_offset(changed - _MOMENT, self._offset(changed))
            if self._next_change(changed, due) is None:
                return due
            at = changed

    def _by_offset(self, at: datetime, offset: timedelta) -> datetime:
        times = croniter(self._expression, (at + offset).replace(tzinfo=None), ret_type=datetime)
        shown: datetime = times.get_next()
        return shown.replace(tzinfo=UTC) - offset

    def _offset(self, at: datetime) -> timedelta:
        return at.astimezone(self._zone).utcoffset() or timedelta()

    def _next_change(self, start: datetime, end: datetime) -> datetime | None:
        """The first change of the offset after ``start``, up to ``end``; None without one."""
        while start < end:
            until = min(end, start + _RARE)
            if self._offset(until) != self._offset(start):
                return self._change(start, until)
            start = until
        return None

    def _change(self, start: datetime, end: datetime) -> datetime:
        """When, to the second, the offset changes between two moments with different ones."""
        before = self._offset(start)
        while end - start > _SECOND:
            middle = (start + (end - start) / 2).replace(microsecond=0)
            if middle <= start:
                break
            if self._offset(middle) == before:
                start = middle
            else:
                end = middle
        return end.replace(microsecond=0)

    def upcoming(self, at: datetime, count: int) -> list[datetime]:
        """The first ``count`` times it is due after ``at``, in UTC; fewer when it then never is again."""
        found: list[datetime] = []
        try:
            while len(found) < count:
                found.append(self.after(found[-1] if found else at))
        except CroniterError:
            pass
        return found

    def latest(self, first: datetime, now: datetime) -> datetime:
        """The last time it was due up to ``now``. ``first``: one of those times."""
        end = now
        while (due := self.after(first)) <= now:
            # Halves what lies between the latest known and the end: an outage may have missed very many.
            middle = due + (end - due) / 2
            later = self.after(middle)
            if later <= now:
                first = later
            else:
                first, end = due, middle
        return first


_MOMENT = timedelta(microseconds=1)
_SECOND = timedelta(seconds=1)
_RARE = timedelta(days=20)
"""No place changes its clocks twice in so many days."""


def _wrong(expression: str) -> InvalidInput:
    return InvalidInput(
        f"there is no time for the cron expression {expression[:120]!r}",
        field="cron",
        next_action="Give minute, hour, day of month, month and day of week, such as '*/15 8-18 * * mon-fri'.",
    )
