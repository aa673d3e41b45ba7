"""The share encoding: a latency budget and who pays for it, shared out over all variables by the exact solver.

It is the other description of plans in a few numbers, beside the profiles along the depth.
"""

from __future__ import annotations

from collections.abc import Mapping

from ...spaces.allocate.forecast import Forecast
from ...spaces.allocate.prices import Prices
from ...spaces.allocate.within import fastest_plan, forecast_for, plan_within
from ...spaces.plan import Plan
from ...spaces.space import Space
from ...spaces.surrogates import Surrogates
from ...spaces.variables import Number, Value, Variable
from .encoding import Parameter
from .profile import option_of, parameter_of, value_of

PRICE = Number(-2.0, 2.0)
"""Range of the prices along the depth and inside blocks."""
AXIS_PRICE = Number(-2.0, 6.0)
"""Range of the price of an axis. Before any training int8 does less than a hundredth of the harm of a narrower group
(ResNet-20 on CIFAR-10: 0.001 against 0.3 to 1.2 nats). But training repairs narrow groups, so that bits may have to be
several hundred times dearer than measured."""
SPREAD = Number(-1.0, 1.0)
MANY = 10_000
"""Answers kept; then all are forgotten."""


class ShareEncoding:
    """Describes plans by a budget and prices."""

    def __init__(self, space: Space, surrogates: Surrogates, lowest_ms: float, highest_ms: float) -> None:
        """Describe plans of `space` between two latencies.

        The surrogates may learn meanwhile: answers of an earlier state of them are not given again.

        Args:
            space: The space.
            surrogates: What is known of it; latency must be predicted for every target.
            lowest_ms: Least budget (ms) that is drawn; see `reach_ms`.
            highest_ms: Largest budget (ms).
        """
        self._space = space
        self._surrogates = surrogates
        self._range = Number(min(lowest_ms, highest_ms), highest_ms, log=True)
        self._known = [v for v in space.network if v.name in surrogates.sensitivity]
        sizes: dict[str, int] = {}
        for variable in self._known:
            sizes[variable.axis] = sizes.get(variable.axis, 0) + 1
        # prices are relative: those of the axis with the most variables are 0
        self._axes = sorted(sizes, key=lambda axis: -sizes[axis])[1:]
        self._rest: tuple[Variable, ...] = tuple(v for v in space.variables if not v.in_network and v.is_searched)
        self._forecasts: dict[Plan, tuple[tuple[float, ...], Forecast]] = {}
        self._answers: dict[tuple[Plan, float, Prices], Plan] = {}

    def latent(self) -> dict[str, Parameter]:
        """Return the budget, a price for each trend and axis that there is, and the variables outside the network."""
        known = self._known
        streams = {v.axis for v in known if v.in_stream}
        inner = any(v.axis in streams and not v.in_stream for v in known)
        found: dict[str, Parameter] = {"budget_ms": self._range}
        if len(known) > 1:
            found["price.slope"] = PRICE
        if len(known) > 3:
            found["price.curve"] = PRICE
        if inner:
            found["price.inner"] = PRICE
        if any(len(v.options) > 3 for v in known):
            found["price.spread"] = SPREAD
        found |= {f"price.{axis}": AXIS_PRICE for axis in self._axes}
        return found | {v.name: parameter_of(v) for v in self._rest}

    def neutral(self, budget_ms: float, like: Plan) -> dict[str, Value]:
        """Return the numbers for this budget (ms), with harm as it was measured and the rest as `like` decides."""
        budget_ms = min(self._range.high, max(self._range.low, budget_ms))
        found: dict[str, Value] = {name: 0.0 for name in self.latent() if name.startswith("price.")}
        return {"budget_ms": budget_ms, **found, **{v.name: value_of(v, like) for v in self._rest}}

    def decode(self, latent: Mapping[str, Value]) -> Plan:
        """Return the plan of least harm at these prices within the budget, or the fastest one where none keeps it."""
        rest = {v.name: option_of(v, latent[v.name]) for v in self._rest if v.name in latent}
        like = self._space.repair(self._space.taught.changed(rest))

        def price(name: str) -> float:
            return round(float(latent.get(f"price.{name}", 0.0)), 2)

        axes = {axis: price(axis) for axis in self._axes}
        prices = Prices(price("slope"), price("curve"), axes, price("inner"), price("spread"))
        shared = self._shared(like, float(f"{float(latent['budget_ms']):.3g}"), prices)
        return self._space.assemble(self._space.indices(shared), self._space.taught.changed(rest))

    def encode(self, plan: Plan) -> dict[str, Value] | None:
        """Return None: a budget and its prices say nothing of a plan that they were not drawn for."""
        return None

    def _shared(self, like: Plan, budget_ms: float, prices: Prices) -> Plan:
        # how a student is taught does not change its latency
        like = like.without(*(axis.name for axis in self._space.axes if axis.stage == "teaching"))
        forecast = self._forecast(like)
        state = (like, budget_ms, prices)
        if state not in self._answers:
            if len(self._answers) >= MANY:
                self._answers.clear()
            plan = plan_within(self._space, self._surrogates, budget_ms, like, prices, forecast)
            self._answers[state] = plan or fastest_plan(self._space, self._surrogates, like, forecast)[0]
        return self._answers[state]

    def _forecast(self, like: Plan) -> Forecast:
        """Return what was predicted for such plans, or nothing yet where the predictor has learned since."""
        last = [len(variable.options) - 1 for variable in self._space.network]
        samples = (like, self._space.assemble(last, like))
        surrogate = self._surrogates.latency_for(self._space.spec(like).target)
        assert surrogate is not None
        state = tuple(surrogate.predict_ms(self._space.spec(plan)) for plan in samples)
        known = self._forecasts.get(like)
        if known is not None and known[0] == state:
            return known[1]
        self._answers = {key: plan for key, plan in self._answers.items() if key[0] != like}
        self._forecasts[like] = state, forecast_for(self._space, self._surrogates, like)
        return self._forecasts[like][1]


def reach_ms(space: Space, surrogates: Surrogates, starts: Mapping[str, Plan]) -> tuple[float, float]:
    """Return the predicted latencies (ms) of the fastest plan and of the teacher: budgets are drawn between.

    Args:
        space: The space.
        surrogates: What is known of it.
        starts: Target -> the teacher's plan there, where plans choose their target; else one plan for all. The lowest
            and the highest of all count.
    """
    fastest = [fastest_plan(space, surrogates, plan)[1] for plan in starts.values()]
    teachers = [forecast_for(space, surrogates, plan).ms(space.indices(plan)) for plan in starts.values()]
    return min(fastest), max(teachers)
