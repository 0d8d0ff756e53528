"""
The only place where Faust apps share a process: the role ``all`` runs decide with account and execute beside it.

``faust -A pipeline worker`` starts one app. The others are started as its service, each with its own id, group,
consumer thread and stores, so that going from ``all`` to one process per role changes no table and no offset
(docs/adr/0004-three-apps-in-one-process.md).
"""

from __future__ import annotations

from collections.abc import Sequence

from mode import Service

from pipeline.streaming.app import WorkerApp
from pipeline.streaming.faults import end_process, fatal


def accompany(leader: WorkerApp, companions: Sequence[WorkerApp]) -> None:
    """Start *companions* with *leader* and stop them, in reverse order, before it leaves its own group."""

    @leader.service
    class Companions(Service):  # type: ignore[misc]  # mode has no types here
        """The other apps of this process."""

        async def on_start(self) -> None:
            # Not awaited: an executor that waits for an older lease to end must not hold up the ticks of decide.
            for app in companions:
                self.add_future(_live(app))

    async def stop_companions() -> None:
        for app in reversed(companions):
            await app.stop()

    leader.before_stop.insert(0, stop_companions)


async def _live(app: WorkerApp) -> None:
    """Start an app and end the process when it fails: a worker that has lost one of its roles must not look alive."""
    with fatal(f"app {app.role}"):
        app.in_worker = True
        app.finalize()
        await app.maybe_start()
    await app._crashed.wait()
    end_process(f"app {app.role}", app.crash_reason or RuntimeError("crashed without a reason"))
