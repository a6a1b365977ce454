"""Where every node and every job stands, as columns by their numbers."""

from __future__ import annotations

from array import array

from app.simulate.workload import Scene, numbered

_UNKNOWN_RESPONSE_MS = 100


class Nodes:
    """``taken``: slots in use. ``silent``: says nothing; ``away``: and the engine knows. ``holders``: jobs on it."""

    def __init__(self, scene: Scene) -> None:
        network = scene.network
        self.ids = network.ids
        self.place_of = {node_id: at for at, node_id in enumerate(network.ids)}
        self.capacity: list[int] = network.capacity.tolist()
        self.response_ms = [ms or _UNKNOWN_RESPONSE_MS for ms in network.response_ms.tolist()]
        self.taken = [0] * len(network)
        self.silent = bytearray(len(network))
        self.away = bytearray(len(network))
        self.holders: dict[int, set[int]] = {}

    def free(self, node: int) -> int:
        """Slots that nobody holds."""
        return self.capacity[node] - self.taken[node]


class Jobs:
    """``slots``: of each kind. ``lost``: runs. ``hold``, ``stay``: the present one in the trail, -1 without.

    ``excluded``: ids of the nodes ruled out, for those that have any. Times in virtual milliseconds.
    """

    def __init__(self, scene: Scene) -> None:
        workload, behaviour = scene.workload, scene.behaviour
        count = len(workload)
        self.ids = numbered("job", count)
        self.kind: list[int] = workload.kind.tolist()
        self.slots = [kind.gpus for kind in workload.kinds]
        self.submit: list[int] = workload.submit_ms.tolist()
        self.duration: list[int] = workload.duration_ms.tolist()
        self.key: list[int] = workload.key.tolist()
        self.rank: list[int] = (workload.submit_ms - workload.priority * behaviour.age_per_priority_ms).tolist()
        self.expires = array("q", (workload.submit_ms + behaviour.queue_ttl_ms).tolist())
        self.attempt = array("q", [0]) * count
        self.lost = bytearray(count)
        self.hold = array("q", [-1]) * count
        self.stay = array("q", [-1]) * count
        self.excluded: dict[int, tuple[str, ...]] = {}
        self.warm = workload.warm

    def slots_of(self, job: int) -> int:
        """Slots that the job takes."""
        return self.slots[self.kind[job]]
