"""How long a sampler thinks about one proposal, by trials told and by dimensions; two objectives.

    python benchmarks/sampler_cost.py [--told 100 1000 10000] [--limit 60] [--quality]

`latent-15` is what a study draws (10 numbers and 5 choices), `flat-60` and `flat-120` a number for each variable. Every
cell is measured in a process of its own: the median of three asks, in CPU time, so that neighbours do not count (run it
with OMP_NUM_THREADS=1); a process that needs longer than the limit is ended. "tpe, 300 kept" is told only the 300
trials of lowest rank of non-dominance, the latest first among equals. `--quality` compares what TPE finds with all it
was told and with 300 kept, at equal numbers of trials.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import time
import warnings
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection

import numpy as np
import optuna

KEPT = 300
SAMPLERS = ("tpe multivariate", "tpe univariate", "tpe, 300 kept", "nsga2", "gp")
Space = Mapping[str, optuna.distributions.BaseDistribution]


def spaces() -> dict[str, Space]:
    """Return the spaces by name."""
    numbers = {f"x{i}": optuna.distributions.FloatDistribution(0.0, 1.0) for i in range(10)}
    choices = {f"bits_{i}": optuna.distributions.CategoricalDistribution(("32", "16", "8")) for i in range(5)}
    flat = {n: {f"s{i}": optuna.distributions.IntDistribution(0, 16) for i in range(n)} for n in (60, 120)}
    return {"latent-15": {**numbers, **choices}, "flat-60": flat[60], "flat-120": flat[120]}


def sampler(name: str, seed: int = 0) -> optuna.samplers.BaseSampler:
    """Return the sampler of this name of SAMPLERS."""
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    if name == "nsga2":
        return optuna.samplers.NSGAIISampler(seed=seed, population_size=24)
    if name == "gp":
        return optuna.samplers.GPSampler(seed=seed)
    several = name != "tpe univariate"
    return optuna.samplers.TPESampler(seed=seed, multivariate=several, n_startup_trials=8, n_ei_candidates=48)


def worth(position: np.ndarray) -> list[float]:
    """Return two objectives in conflict for a point in the unit cube; each variable's optimum lies somewhere else."""
    optimum = np.random.default_rng(7).uniform(size=len(position))
    g = 1 + 9 * float(np.abs(position - optimum)[1:].mean())
    return [float(position[0]), g * (1 - float(np.sqrt(position[0] / g)))]


def position(space: Space, params: Mapping[str, object]) -> np.ndarray:
    """Return parameters as a point in the unit cube."""
    found = []
    for name, spread in space.items():
        value = spread.to_internal_repr(params[name])
        high = len(spread.choices) - 1 if isinstance(spread, optuna.distributions.CategoricalDistribution) else None
        found.append(value / (high if high is not None else spread.high))  # type: ignore[attr-defined]
    return np.array(found)


def random_trials(space: Space, count: int) -> list[optuna.trial.FrozenTrial]:
    """Return complete trials, drawn evenly."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(count):
        params: dict[str, object] = {}
        for name, spread in space.items():
            if isinstance(spread, optuna.distributions.CategoricalDistribution):
                params[name] = spread.choices[rng.integers(len(spread.choices))]
            elif isinstance(spread, optuna.distributions.IntDistribution):
                params[name] = int(rng.integers(spread.low, spread.high + 1))
            else:
                params[name] = float(rng.uniform())
        found.append(
            optuna.trial.create_trial(params=params, distributions=dict(space), values=worth(position(space, params)))
        )
    return found


def kept(trials: Sequence[optuna.trial.FrozenTrial], count: int) -> list[optuna.trial.FrozenTrial]:
    """Return the `count` trials of lowest non-dominated rank, the latest first among equals, in the order they came."""
    if len(trials) <= count:
        return list(trials)
    points = np.array([t.values for t in trials])
    left = np.arange(len(points))
    chosen: list[int] = []
    while len(chosen) < count:
        order = left[np.lexsort((points[left, 1], points[left, 0]))]
        lowest = np.minimum.accumulate(np.concatenate([[np.inf], points[order, 1][:-1]]))
        front = order[points[order, 1] < lowest]
        chosen += sorted(front.tolist(), reverse=True)
        left = np.setdiff1d(left, front)
    return [trials[i] for i in sorted(chosen[:count])]


def ask_seconds(name: str, space: Space, told: int, pipe: Connection) -> None:
    """Send the median CPU time (s) of three asks after `told` trials."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    trials = random_trials(space, told)
    study = optuna.create_study(directions=["minimize"] * 2, sampler=sampler(name))
    study.add_trials(kept(trials, KEPT) if "kept" in name else trials)
    pipe.send("ready")
    seconds = []
    for _ in range(3):
        start_s = time.process_time()
        trial = study.ask(dict(space))
        seconds.append(time.process_time() - start_s)
        study.tell(trial, worth(position(space, trial.params)))
    pipe.send(statistics.median(seconds))


def limited(name: str, space: Space, told: int, limit_s: float) -> str:
    """Return the seconds in words, measured in a process of its own."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=ask_seconds, args=(name, space, told, there))
    process.start()
    there.close()
    try:
        here.recv()
        return f"{here.recv():.3f}" if here.poll(limit_s) else f"> {limit_s / 3:.0f}"
    except EOFError:
        return "failed"
    finally:
        process.kill()
        process.join()


def share(space: Space, seed: int, trials: int, keep: int | None) -> list[float]:
    """Return the hypervolume of what TPE found, by quarter of the way.

    Args:
        space: What is searched.
        seed: Of the sampler.
        trials: Number of trials.
        keep: Number of trials that it knows, None for all.
    """
    import moocore

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    all_trials: list[optuna.trial.FrozenTrial] = []
    model = sampler("tpe multivariate", seed)
    study = optuna.create_study(directions=["minimize"] * 2, sampler=model)
    volumes = []
    for done in range(1, trials + 1):
        trial = study.ask(dict(space))
        study.tell(trial, worth(position(space, trial.params)))
        all_trials.append(study.trials[-1])
        if keep is not None and len(study.trials) >= keep * 4 // 3:
            study = optuna.create_study(directions=["minimize"] * 2, sampler=model)
            study.add_trials(kept(all_trials, keep))
        if done % max(1, trials // 4) == 0:
            volumes.append(float(moocore.hypervolume(np.array([t.values for t in all_trials]), ref=[1.0, 5.0])))
    return volumes


def print_quality(trials: int, seeds: int) -> None:
    """Print what TPE finds with all that it was told, and with a part of it."""
    space = spaces()["latent-15"]
    print(f"\nhypervolume (of 5 at most) after each quarter of {trials} trials, latent-15, mean of {seeds} seeds")
    for words, keep in (("all", None), ("300 kept", 300), ("150 kept", 150)):
        start_s = time.perf_counter()
        found = np.mean([share(space, seed, trials, keep) for seed in range(seeds)], axis=0)
        seconds = (time.perf_counter() - start_s) / seeds
        print(f"{words:12}" + "".join(f"{v:8.3f}" for v in found) + f"   {seconds:.0f} s a run", flush=True)


def main() -> None:
    """Run what the command line asks for, and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--told", type=int, nargs="+", default=[100, 1000, 10000])
    parser.add_argument("--samplers", nargs="+", choices=SAMPLERS, default=list(SAMPLERS))
    parser.add_argument("--spaces", nargs="+", choices=list(spaces()), default=list(spaces()))
    parser.add_argument("--limit", type=float, default=60.0, help="Seconds for the three asks of a cell.")
    parser.add_argument("--quality", action="store_true")
    parser.add_argument("--trials", type=int, default=600, help="Of --quality.")
    parser.add_argument("--seeds", type=int, default=3, help="Of --quality.")
    options = parser.parse_args()
    if options.quality:
        print_quality(options.trials, options.seeds)
        return
    print("CPU seconds an ask after so many trials (CMA-ES is not there: Optuna's has one objective and no choices)")
    print(f"{'':12}{'':20}" + "".join(f"{told:>12,}" for told in options.told))
    for space in options.spaces:
        for name in options.samplers:
            print(f"{space:12}{name:20}", end="", flush=True)
            slow = False
            for told in options.told:
                words = "-" if slow else limited(name, spaces()[space], told, options.limit)
                slow = slow or not words[0].isdigit()
                print(f"{words:>12}", end="", flush=True)
            print(flush=True)


if __name__ == "__main__":
    main()
