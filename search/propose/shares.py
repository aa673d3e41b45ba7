"""The share encoding: a sampler draws a latency budget and who pays for it, and a program shares it out over all sites.

The other low-dimensional way to describe plans, beside the profiles of the axes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ...spaces.allocate.forecast import Forecast, Slowest
from ...spaces.allocate.prices import Prices
from ...spaces.allocate.within import fastest_plan, plan_within
from ...spaces.axes.base import Number, Parameter, Value
from ...spaces.axes.recovery import RecoveryAxis
from ...spaces.axes.target import TargetAxis
from ...spaces.plan import Plan, Recovery
from ...spaces.sites import Sites
from ...spaces.surrogates import Guide, LatencyGuess

PRICES: Mapping[str, tuple[float, float]] = {
    "slope": (-2.0, 2.0),
    "curve": (-2.0, 2.0),
    "bits": (-2.0, 6.0),
    "inner": (-2.0, 2.0),
    "pattern": (-3.0, 3.0),
    "spread": (-1.0, 1.0),
}
"""Where each price is drawn from. Before any training int8 does less than a hundredth of the damage of a narrower group
(ResNet-20 on CIFAR-10: 0.001 against 0.3 to 1.2 nats); but training repairs narrow groups, so that bits may have to be
several hundred times dearer than measured."""
MANY = 10_000
"""Answers kept; then all are forgotten."""


class ShareEncoding:
    """A space described by a budget and prices; `latent`, `decode` and `key` are those of `Space`.

    targets: those a plan's file is for, or that a plan chooses from where the space has homes; the guide must know the
    latency of each. lowest_ms, teacher_ms: where budgets are drawn from; see `reach_ms`. The guide may learn meanwhile:
    answers of an earlier state of its latencies are not given again.

    Raises:
        KeyError: the guide has no latency for one of the targets.
    """

    def __init__(
        self,
        sites: Sites,
        guide: Guide,
        targets: Sequence[str],
        lowest_ms: float,
        teacher_ms: float,
        default_recovery: Recovery | None = None,
    ) -> None:
        self._sites = sites
        self._guide = guide
        self._range = Number(min(lowest_ms, teacher_ms), teacher_ms, log=True)
        self._default = Plan(recovery=default_recovery or sites.space.default_recovery)
        self._latency = _latencies(sites, guide, targets)
        self._forecasts: dict[str, tuple[tuple[float, ...], Forecast]] = {}
        self._answers: dict[tuple[str, float, Prices], Plan] = {}

    def latent(self) -> dict[str, Parameter]:
        """budget_ms, a price for each kind of decision there is, and the numbers of recovery and target."""
        known = [site for site in self._sites if site.name in self._guide.damage]
        kinds = {site.kind for site in known}
        inner = {site.inner for site in known if site.kind == "channels"}
        offered = {
            "slope": len(known) > 1,
            "curve": len(known) > 3,
            "bits": "bits" in kinds and len(kinds) > 1,
            "inner": len(inner) > 1,
            "pattern": "pattern" in kinds and len(kinds) > 1,
            "spread": kinds != {"bits"},
        }
        found: dict[str, Parameter] = {"budget_ms": self._range}
        found |= {f"price_{name}": Number(*PRICES[name]) for name, there in offered.items() if there}
        for axis in self._sites.space.axes:
            if isinstance(axis, RecoveryAxis | TargetAxis):
                found |= axis.parameters()
        return found

    def neutral(self, budget_ms: float, rest: Mapping[str, Value]) -> dict[str, Value]:
        """Latent numbers for this budget with damage as it was measured. rest: values for recovery and target."""
        budget_ms = min(self._range.high, max(self._range.low, budget_ms))
        prices: dict[str, Value] = {name: 0.0 for name in self.latent() if name.startswith("price_")}
        return {"budget_ms": budget_ms, **prices, **rest}

    def decode(self, latent: Mapping[str, Value]) -> Plan:
        """The legal plan that `latent` stands for: of least damage at its prices within its budget, or the fastest one
        where no plan is predicted to keep that."""
        space = self._sites.space
        target = str(latent["target"]) if "target" in latent else ""
        prices = Prices(**{name: round(float(latent.get(f"price_{name}", 0.0)), 2) for name in PRICES})
        plan = self._shared(target, float(f"{float(latent['budget_ms']):.3g}"), prices)
        plan = replace(plan, recovery=self._default.recovery)
        for axis in space.axes:
            if isinstance(axis, RecoveryAxis):
                plan = axis.apply(plan, latent)
        return space.settled(plan)

    def key(self, plan: Plan) -> str:
        """A digest of the plan's canonical JSON."""
        return self._sites.space.key(plan)

    def _shared(self, target: str, budget_ms: float, prices: Prices) -> Plan:
        like = replace(self._default, recovery=None, target=target)
        guide = Guide(self._guide.damage, {target: self._latency[target]})
        forecast = self._forecast(target, like)
        state = (target, budget_ms, prices)
        if state not in self._answers:
            if len(self._answers) >= MANY:
                self._answers.clear()
            plan = plan_within(self._sites, guide, target, budget_ms, like, prices, forecast)
            self._answers[state] = plan or fastest_plan(self._sites, guide, target, like, forecast)[0]
        return self._answers[state]

    def _forecast(self, target: str, like: Plan) -> Forecast:
        """What was predicted for this target, or nothing yet where the predictor has learned since."""
        probes = (Plan(target=target), self._sites.assemble([len(site.options) - 1 for site in self._sites], like))
        state = tuple(self._latency[target].predict_ms(plan) for plan in probes)
        known = self._forecasts.get(target)
        if known is not None and known[0] == state:
            return known[1]
        self._answers = {key: plan for key, plan in self._answers.items() if key[0] != target}
        self._forecasts[target] = state, Forecast(self._sites, self._latency[target], like)
        return self._forecasts[target][1]


def _latencies(sites: Sites, guide: Guide, targets: Sequence[str]) -> dict[str, LatencyGuess]:
    """The predictor for each target that a plan may name; "" is for plans that name none."""
    found = {target: guide.latency[target] for target in targets}
    if sites.space.homes:
        return found
    if len(found) == 1:
        return {"": found[targets[0]]}
    return {"": Slowest(found, {name: guess.predict_ms(Plan()) for name, guess in found.items()})}


def reach_ms(sites: Sites, guide: Guide, targets: Sequence[str]) -> tuple[float, float]:
    """The predicted latencies (ms) of the fastest plan and of the teacher: what budgets are drawn between. Where plans
    choose their target, the lowest and the highest of all."""
    latency = _latencies(sites, guide, targets)
    known = Guide(guide.damage, latency)
    fastest = [fastest_plan(sites, known, target, Plan(target=target))[1] for target in latency]
    return min(fastest), max(guess.predict_ms(Plan(target=target)) for target, guess in latency.items())
