"""What a Ray cluster is asked before work starts: whether it answers, has what a worker needs, and sees the folder.

Example:
    >>> Need(cpus=1, gpus=0.5, memory=0).fits({"CPU": 8.0, "GPU": 2.0})
    4
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

from bench.errors import ConfigError, StoreError, foreign
from bench.locations import open_store
from bench.profile import Run
from bench.provenance import installed

ANSWER_SECONDS = 5.0
"""How long an address may take to answer."""

GONE_SECONDS = 60.0
"""How long a cluster may take to notice that a node is gone."""

GIGABYTE = 1e9


@dataclass(frozen=True)
class Need:
    """What one worker reserves.

    Attributes:
        cpus: cores.
        gpus: GPUs, or a fraction of one.
        memory: bytes; 0 for no reservation.
    """

    cpus: int
    gpus: float
    memory: int

    @classmethod
    def of(cls, run: Run) -> Self:
        """Returns what a worker of this run needs."""
        gpus = run.gpus_per_worker or float(run.device.startswith("cuda"))
        return cls(run.cpus_per_worker or run.threads, gpus, round(run.memory_gb * GIGABYTE))

    def fits(self, resources: Mapping[str, float]) -> int:
        """Returns how many workers fit on a node with these resources, as Ray names them."""
        wanted = {"CPU": float(self.cpus), "GPU": self.gpus, "memory": float(self.memory)}
        return min(int(resources.get(name, 0.0) / need + 1e-9) for name, need in wanted.items() if need)

    def options(self) -> dict[str, Any]:
        """Returns it as options of an actor that is never restarted by Ray: the driver starts a fresh one."""
        memory = {"memory": self.memory} if self.memory else {}
        return {"num_cpus": self.cpus, "num_gpus": self.gpus, "max_restarts": 0, **memory}

    def __str__(self) -> str:
        """Returns it in words."""
        parts = [f"{self.cpus} CPUs"] + [f"{self.gpus:g} GPUs"] * (self.gpus > 0)
        return ", ".join(parts + [f"{self.memory / GIGABYTE:g} GB of memory"] * (self.memory > 0))


@dataclass(frozen=True)
class Hello:
    """What a node says of itself.

    Attributes:
        node: its name.
        location: the folder of the run.
        trouble: why it cannot read in the folder; empty if it can.
        version: of this package there.
    """

    node: str
    location: str
    trouble: str
    version: str | None

    def check(self) -> None:
        """Raises StoreError or ConfigError if this node must not work."""
        if self.trouble:
            raise StoreError(
                f"node {self.node} does not see {self.location} ({self.trouble}): give --out a folder that all nodes "
                "share under the same path, or an s3:// address"
            )
        if self.version != (here := installed("longvideo-bench")):
            raise ConfigError(f"node {self.node} has longvideo-bench {self.version}, this machine {here}: install one")


def greet(location: str, token: str) -> Hello:
    """Returns what this node says, having looked for the token that the driver left in the folder."""
    try:
        trouble = (
            "" if open_store(location, records=False).has_token(token) else "a file written by the driver is not there"
        )
    except StoreError as error:
        trouble = str(error)
    return Hello(socket.gethostname(), location, trouble, installed("longvideo-bench"))


@contextmanager
def connect(address: str, workers: int, need: Need) -> Iterator[None]:
    """Returns a context with a connection to a cluster.

    Args:
        address: "local" to start one on this machine, "auto" for the one that runs here, or HOST:PORT.
        workers: with "local", how many workers it must hold; 0 for what this machine has.
        need: what each of them reserves.

    Raises:
        ConfigError: Ray is not installed, or nobody answers.
    """
    _settle(address)
    try:
        import ray
    except ImportError as cause:
        raise ConfigError("--executor ray needs Ray: pip install 'longvideo-bench[ray]'") from cause
    if address not in ("local", "auto"):
        _knock(address)
    own: dict[str, Any] = {}
    if address == "local":
        own = {"include_dashboard": False, "num_cpus": max(os.cpu_count() or 1, workers * need.cpus)}
    known = (ConnectionError, TimeoutError, RuntimeError, ValueError, ray.exceptions.RayError)
    try:
        # On a machine that is too busy Ray raises a bare Exception.
        with foreign(ConfigError, f"--address {address}: Ray, starting or joining a cluster,", passing=known):
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **own)
    except known as cause:
        raise ConfigError(f"--address {address}: no connection to a Ray cluster ({_first_line(cause)})") from cause
    try:
        yield
    finally:
        ray.shutdown()


def room(need: Need) -> int:
    """Returns how many workers the living nodes have room for, whoever uses them now."""
    return sum(need.fits(node["Resources"]) for node in _nodes())


def refuse(need: Need, location: str, token: str) -> None:
    """Raises unless workers fit and every node that can hold one sees the folder.

    Raises:
        ConfigError: no node has what a worker needs.
        StoreError: a node does not see the folder.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    nodes = [node for node in _nodes() if need.fits(node["Resources"])]
    if not nodes:
        most = {name: max(node["Resources"].get(name, 0.0) for node in _nodes()) for name in ("CPU", "GPU")}
        raise ConfigError(
            f"a worker needs {need}, and no node of the cluster has that: the most on one node are "
            f"{most['CPU']:g} CPUs and {most['GPU']:g} GPUs. "
            "Give a smaller --gpus-per-worker or --cpus-per-worker, or --set run.device=cpu"
        )
    remote = ray.remote(greet)
    asked = {}
    for node in nodes:
        there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        asked[node["NodeID"]] = remote.options(num_cpus=0, scheduling_strategy=there).remote(location, token)
    for node in nodes:
        answer = _answer(node, asked[node["NodeID"]])
        if answer is not None:
            answer.check()


def _answer(node: Mapping[str, Any], asked: Any) -> Hello | None:
    """Returns what a node says; None if it is gone, which a cluster notices after some seconds only.

    Raises:
        StoreError: it is there and does not answer.
    """
    import ray

    try:
        answer: Hello = ray.get(asked)
    except ray.exceptions.RayError as error:
        deadline = time.monotonic() + GONE_SECONDS
        while time.monotonic() < deadline:
            if node["NodeID"] not in {other["NodeID"] for other in _nodes()}:
                return None
            time.sleep(0.5)
        raise StoreError(f"node {node['NodeManagerHostname']} does not answer ({_first_line(error)})") from error
    return answer


def _settle(address: str) -> None:
    """Decides what Ray would otherwise decide with a warning at its first use; the user's own choices stay.

    A cluster that is started here is closed to others by a token that only it and this process know; Ray's own way
    would be to write one into the home folder.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_worker_niceness", "0")  # seconds are measured: workers run as those of `processes` do
    if address == "local" and "RAY_AUTH_MODE" not in os.environ:
        os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))


def _nodes() -> list[dict[str, Any]]:
    import ray

    return [node for node in ray.nodes() if node["Alive"]]


def _knock(address: str) -> None:
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if address.startswith("ray://") or not host or not port.isdigit():
        raise ConfigError(
            f"--address {address!r}: give local, auto, or HOST:PORT of the head node (port 6379 by default)"
        )
    try:
        socket.create_connection((host, int(port)), ANSWER_SECONDS).close()
    except (OSError, OverflowError) as cause:
        raise ConfigError(
            f"--address {address}: nobody answers there ({cause}). Start the head node with `ray start --head`, "
            "or give another address"
        ) from cause


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
