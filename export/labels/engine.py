"""Runs labellers on Ray Data: on this machine, or on a cluster; a lost node costs what its workers had in hand.

Ray hands out names of photos alone: workers read the photos and write the parts themselves, one shard after another, so
that a slow disk holds its own worker up and no object store fills. A worker gets its next shard while it still has one.

Ray Data would wait for a lost worker until its node came back. So lost shards are given up (workers are not restarted,
nor are their tasks), the rest goes on, and a further round does what no part is there for.
"""

import logging
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import ray
import ray.data
import ray.exceptions
from pydantic import Field

from pocketcrafter.export.labels.labeller import Job, Labeller, Outcome
from pocketcrafter.export.labels.photos import (
    Shard,
    hashed,
    known_hashes,
    photos_in,
    shards_of,
    write_index,
)
from pocketcrafter.export.labels.store import LabelStore
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.errors import BackendError
from pocketcrafter.runtime.progress import NamedProgress

_NO_STATISTICS: Final = "RAY_USAGE_STATS_ENABLED"
"""Ray sends its makers what it is used for, where this is not 0 when it starts."""
_HASHED: Final = 256
"""Photos that are hashed at once."""
_BLOCKS: Final = 10_000
"""Parts of a round, of which each is a task of Ray."""
_PAUSE_SECONDS: Final = 5.0
_ROUNDS: Final = 5
"""Rounds without a single part after which nobody is left to work."""
OnOutcome = Callable[[Outcome], None]


class Summary(Config):
    """What a run has done."""

    photos: int = Field(description="Files of photos that were found.")
    contents: int = Field(description="Different contents among them.")
    unreadable: tuple[str, ...] = Field(description="Files that no node can read; tried again in each run.")
    labelled: int = Field(description="In this run.")
    quarantined: int = Field(description="In this run.")
    seconds: float = Field(
        description="From the first shard's start to the last one's end, loading of the teacher too."
    )
    photos_per_second: float
    teacher_seconds: float = Field(description="That the teachers took, of all workers together.")
    nodes: int
    workers: int
    rounds: int = Field(description="More than one where nodes were lost.")


@dataclass(frozen=True)
class Cluster:
    """What there is to work with.

    Attributes
    ----------
    nodes, cpus, gpus
        How many.
    workers
        How many labellers at a time.
    """

    nodes: int
    cpus: int
    gpus: int
    workers: int


@contextmanager
def running(address: str | None, workers: int | None, device: str) -> Iterator[Cluster]:
    """Join a cluster, or start Ray on this machine and end it again.

    Parameters
    ----------
    address
        Of a running cluster; none starts one.
    workers
        How many labellers; one for each GPU, or for each core, when `None`.
    device
        ``cpu`` or ``cuda``.

    Raises
    ------
    BackendError
        If there is no cluster, or none of its nodes has a GPU where one is asked for.
    """
    os.environ[_NO_STATISTICS] = "0"
    own: dict[str, Any] = {"include_dashboard": False}
    if address is None and workers is not None and device == "cpu":
        own["num_cpus"] = max(workers, os.cpu_count() or 1)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **(own if address is None else {}))
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise BackendError(f"Ray cannot be reached at {address or 'this machine'}: {error}") from error
    try:
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        # A lost worker's shard is an error to Ray, and a further round's work to us.
        context.max_errored_blocks = -1
        for name in ("ray.data", "ray"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        have: Mapping[str, float] = ray.cluster_resources()
        cpus, gpus = int(have.get("CPU", 0)), int(have.get("GPU", 0))
        if device == "cuda" and not gpus:
            raise BackendError("--device cuda: no node of the cluster has a GPU; use --device cpu.")
        nodes = sum(bool(node["Alive"]) for node in ray.nodes())
        yield Cluster(nodes, cpus, gpus, workers or (gpus if device == "cuda" else cpus))
    finally:
        ray.shutdown()


def label_photos(
    store: LabelStore,
    job: Job,
    address: str | None,
    workers: int | None,
    shard_photos: int,
    progress: NamedProgress,
    on_done: OnOutcome = lambda _outcome: None,
) -> Summary:
    """Label all photos of a folder that have no label yet.

    Parameters
    ----------
    store
        Where labels go.
    job
        What workers are told.
    address, workers
        As for :func:`running`.
    shard_photos
        Photos of a shard.
    progress
        Told what is done.
    on_done
        Told of each shard that is done.

    Raises
    ------
    DataError
        If there are no photos.
    BackendError
        As :func:`running` and :func:`label_shards`.
    """
    photos = photos_in(job.photos)
    hashes = known_hashes(store.folder, photos)
    with running(address, workers, job.device) as cluster:
        while fresh := [photo.path for photo in photos if photo.path not in hashes]:
            done = len(hashes)

            def on_hashed(more: int) -> None:
                nonlocal done
                done += more
                progress("looking at photos", done, len(photos))

            hashes |= hash_photos(job.photos, fresh, on_hashed)
        unreadable = tuple(path for path, digest in hashes.items() if not digest)
        hashes = {path: digest for path, digest in hashes.items() if digest}
        write_index(store.folder, photos, hashes)
        shards = shards_of(hashes, store.done(), shard_photos)
        left = sum(len(shard.paths) for shard in shards)
        outcomes: list[Outcome] = []

        def on_outcome(outcome: Outcome) -> None:
            outcomes.append(outcome)
            on_done(outcome)
            progress("labels", sum(o.labelled + o.quarantined for o in outcomes), left)

        begun = time.perf_counter()
        rounds = label_shards(job, shards, cluster.workers, on_outcome)
        seconds = time.perf_counter() - begun
    labelled = sum(outcome.labelled for outcome in outcomes)
    return Summary(
        photos=len(photos),
        contents=len(set(hashes.values())),
        unreadable=unreadable,
        labelled=labelled,
        quarantined=sum(outcome.quarantined for outcome in outcomes),
        seconds=seconds,
        photos_per_second=labelled / seconds if labelled else 0.0,
        teacher_seconds=sum(outcome.seconds for outcome in outcomes),
        nodes=cluster.nodes,
        workers=min(cluster.workers, max(1, len(shards))),
        rounds=rounds,
    )


def hash_photos(folder: Path, paths: Sequence[str], on_done: Callable[[int], None]) -> dict[str, str]:
    """Hash photos on all nodes, and return the hashes by path; those that were lost with a node are not among them.

    Parameters
    ----------
    folder, paths
        The photos' folder, and paths below it.
    on_done
        Told how many more are done.
    """
    made: dict[str, str] = {}
    blocks = max(1, -(-len(paths) // _HASHED))
    rows = ray.data.from_items([{"path": path} for path in paths], override_num_blocks=blocks)

    def hashes(batch: Mapping[str, Any]) -> dict[str, Any]:
        found = hashed(folder, [str(path) for path in batch["path"]])
        return {"path": list(found), "sha256": list(found.values())}

    for batch in rows.map_batches(hashes, batch_size=None).iter_batches(batch_size=None):
        made |= dict(zip(map(str, batch["path"]), map(str, batch["sha256"]), strict=True))
        on_done(len(batch["path"]))
    return made


def label_shards(job: Job, shards: Sequence[Shard], workers: int, on_outcome: OnOutcome) -> int:
    """Label shards, each once, and return in how many rounds.

    Parameters
    ----------
    job
        What workers are told.
    shards
        What is to be done.
    workers
        How many at a time.
    on_outcome
        Told of each shard that is done.

    Raises
    ------
    BackendError
        If a worker finds a fault that all would find, or none is left.
    """
    store, left, rounds, idle = LabelStore(job.out, job.settings), list(shards), 0, 0
    while left:
        rounds += 1
        failure = ""
        try:
            for outcome in _round(job, left, workers):
                if outcome.error is not None:
                    raise BackendError(f"{outcome.error} (node {outcome.node})")
                on_outcome(outcome)
        except ray.exceptions.RayError as error:
            # Its node was dead already when a worker was sent there; Ray needs some seconds to see that.
            failure = f" Ray: {error}"
            time.sleep(_PAUSE_SECONDS)
        still = [shard for shard in left if not store.has(shard.name)]
        idle = idle + 1 if len(still) == len(left) else 0
        if idle >= _ROUNDS:
            raise BackendError(
                f"No worker has finished a part in {_ROUNDS} rounds; do the nodes see {job.photos} and {job.out} under "
                f"these names, and have they the memory that `pocketcrafter teacher inspect` tells?{failure}"
            )
        left = still
    return rounds


class _Worker:
    """A labeller among Ray's actors."""

    def __init__(self, job: str) -> None:
        self._labeller = Labeller(Job.model_validate_json(job))
        self._node = ray.get_runtime_context().get_node_id()

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[str]]:
        shards = (Shard.model_validate_json(str(shard)) for shard in batch["shard"])
        outcomes = (self._labeller.label(shard).model_copy(update={"node": self._node}) for shard in shards)
        return {"outcome": [outcome.model_dump_json() for outcome in outcomes]}


def _round(job: Job, shards: Sequence[Shard], workers: int) -> Iterator[Outcome]:
    count = min(workers, len(shards))
    rows = ray.data.from_items(
        [{"shard": shard.model_dump_json()} for shard in shards], override_num_blocks=min(len(shards), _BLOCKS)
    )
    on_gpu = job.device != "cpu"
    with warnings.catch_warnings():
        # Ray 2.60 to 2.63 announce that this argument goes, and have no other for restarts.
        warnings.simplefilter("ignore", DeprecationWarning)
        made = rows.map_batches(
            _Worker,
            batch_size=1,
            fn_constructor_args=(job.model_dump_json(),),
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=count, max_tasks_in_flight_per_actor=2),
            num_cpus=0 if on_gpu else 1,
            num_gpus=1 if on_gpu else None,
            ray_remote_args_fn=lambda: {"max_restarts": 0, "max_task_retries": 0},
        )
    for row in made.iter_rows():
        yield Outcome.model_validate_json(row["outcome"])
