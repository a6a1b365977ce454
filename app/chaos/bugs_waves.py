"""Planted bugs in what workers do: claims, waves, leases."""

from __future__ import annotations

from typing import Final

from app.chaos.bugs_planting import Bug, Change

_IN_MEMORY = Bug(
    "no_capacity_guard",
    "Claims believe the view in memory: two workers, or one behind the times, take the same slots of a node.",
    (
        Change("app.store.claims", "n.capacity - n.active_jobs AS free", "64 AS free"),
        Change("app.store.claims", " AND n.capacity - n.active_jobs >= w.slots\n", "\n"),
    ),
    schema=("ALTER TABLE nodes DROP CONSTRAINT nodes_active_jobs",),
    shows=("node_capacity",),
    faults=("hang_worker", "hang_workers"),
)

_AT_MOST_ONCE = Bug(
    "lost_signal",
    "Signals are consumed as they are claimed, before the wave that acts on them: a crash, or a job that another wave "
    "holds, and nobody ever looks at the job again.",
    (
        Change(
            "graphs.runtime",
            "await signals.claim_due(uow, self.limits.wave_size, share)",
            "await import_module('app.chaos.bugs_signals').claim_for_good(self.db, self.limits.wave_size, share)",
        ),
        Change("graphs.runtime", "import logging\n", "import logging\nfrom importlib import import_module\n"),
    ),
    shows=("stranded_job",),
    faults=("kill_workers", "postgres_restart"),
)

_LATER = Bug(
    "event_after_commit",
    "A wave's events are written a moment after its commit, many waves' together: a crash in between, and receivers "
    "and readers of the feed never hear of the moves.",
    (
        Change(
            "app.services.waves",
            "    await events.add(uow, [event for v in changed for event in _events(v)])\n",
            "    from app.chaos import bugs_later\n\n"
            "    bugs_later.keep(wave, [event for v in changed for event in _events(v)])\n",
        ),
        Change(
            "graphs.runtime",
            "        self.views.committed(committed_nodes(wave))\n",
            "        from app.chaos import bugs_later\n\n"
            "        bugs_later.publish(self.db, wave)\n"
            "        self.views.committed(committed_nodes(wave))\n",
        ),
    ),
    shows=("event_off",),
    faults=("kill_workers", "postgres_restart"),
)

_RESCUER = Bug(
    "unguarded_rescuer",
    "The sweeper takes runs back that it read to be lost a moment ago, one by one, and does not look again: two "
    "sweepers take the same run back, and one that has reported meanwhile is run, and paid, again.",
    (
        Change(
            "app.services.nodes",
            "        await signals.add(uow, [(job_id, SignalKind.LEASE_LOST, None) for job_id in lapsed])\n"
            "    return len(lapsed)\n",
            "    from app.chaos import bugs_rescuer\n\n"
            "    await bugs_rescuer.take_back(db, lapsed)\n"
            "    return len(lapsed)\n",
        ),
    ),
    shows=("history_move", "history_order", "history_head", "late_report", "result_lost"),
    faults=("nodes_silent",),
)

_CURSOR = Bug(
    "naive_cursor",
    "The feed goes by the numbers that events got when they were written: one whose transaction commits a moment after "
    "a later number was passed is never read.",
    (
        Change("app.store.feed", "AND seq > $3 AND seq <= $4 ORDER", "AND seq > $3 AND $4::int8 >= 0 ORDER"),
        Change("app.store.feed", " if decided > last else (0, last)", ""),
    ),
    shows=("feed_missing", "feed_skipped"),
    faults=("hang_worker", "link_delay"),
)

_KEPT_SLOTS = Bug(
    "slots_kept_on_cancel",
    "A cancelled job does not give its node's slots back.",
    (
        Change(
            "app.services.phases",
            "        release(wave, visit, OfferState.WITHDRAWN)\n        visit.move(JobState.CANCELLED",
            "        visit.move(JobState.CANCELLED",
        ),
    ),
    shows=("offer_job",),
    faults=("valkey_flush",),
)

WAVES: Final = (_IN_MEMORY, _AT_MOST_ONCE, _LATER, _RESCUER, _CURSOR, _KEPT_SLOTS)
