"""A study that several drivers search at once: opened as a search opens it, and searched in a process of its own."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from autocompress.search.store.access import access_for_search
from autocompress.search.store.trials import TrialStore

OBJECTIVES = ("accuracy", "latency_ms")
STUDY = """
[task]
from = "{task}"

[target]
batch = 32
profile_seconds = 0.0
precision = 0.5

[recovery]
epochs = 1
batch_size = 64

[search]
without = ["latency_model", "sensitivity", "initial_design"]
"""
"""A study of a task file, in which nothing takes long and nothing is learned before the first trial."""


@contextlib.contextmanager
def a_driver(
    folder: Path, address: str, name: str = "simulated", stop: Callable[[], bool] = lambda: False
) -> Iterator[TrialStore]:
    """The trials of a study as one of its drivers has them."""
    folder.mkdir(parents=True, exist_ok=True)
    given = (folder, name, ("maximize", "minimize"), address, lambda: None, lambda line: None, stop)
    with access_for_search(*given) as access:
        store = TrialStore(folder, name, OBJECTIVES, access.check_held, access.database, access.leases, stop)
        access.release()
        try:
            yield store
        finally:
            store.close()


def search_simulated(folder: Path, address: str, trials: int, seed: int, pause_s: float = 0.0) -> None:
    """Search a simulated study in this process; see `simulation`."""
    import time

    sys.path.insert(0, str(Path(__file__).parents[1] / "search"))
    from simulation import SimulatedExecutor, make_driver, make_problem

    problem = make_problem()
    with a_driver(folder, address) as store:
        executor = SimulatedExecutor(problem)
        driver = make_driver(problem, executor, folder, max_trials=trials, store=store, seed=seed)
        print("searching", flush=True)
        driver.run(lambda: False, lambda snapshot: time.sleep(pause_s))
        print(f"done {len(driver.trials)}", flush=True)


if __name__ == "__main__":
    search_simulated(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]))
