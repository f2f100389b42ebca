"""Draws how the pace follows a limit that changes, as an SVG file."""

from __future__ import annotations

from pathlib import Path

from benchmarks.simulation import Job, Limit
from blockusers.pace.controller import AdaptiveController

LIMIT = Limit(8.0, 20, steps=((60.0, 2.0), (150.0, 12.0)))
SECONDS = 240.0


def draw(path: Path) -> None:
    """Draw the rate of a job through two steps of the limit, and save it at *path*."""
    import matplotlib.pyplot as plt  # noqa: PLC0415
    from matplotlib import rcParams  # noqa: PLC0415

    times, rates, refused = run()
    rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "blockusers", "font.size": 9})
    figure, axes = plt.subplots(figsize=(7.5, 2.8))
    edges = [0.0, *(then for then, _ in LIMIT.steps), SECONDS]
    axes.stairs(
        [LIMIT.rate, *(rate for _, rate in LIMIT.steps)],
        edges,
        baseline=None,
        color="#999999",
        label="the server's limit, unknown to the client",
    )
    axes.plot(times, rates, color="#0b7a75", linewidth=1.2, label="requests sent, over 3 s")
    axes.plot(refused, [0.2] * len(refused), "|", color="#c1121f", label="a refused request")
    axes.set(xlabel="seconds", ylabel="requests per second", xlim=(0, SECONDS), ylim=(0, 20))
    axes.legend(loc="upper left", frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None, "Creator": None})
    plt.close(figure)


def run() -> tuple[list[float], list[float], list[float]]:
    """Return times, the rate of sending at each, and the times of refusals."""
    sent: list[float] = []
    refused: list[float] = []

    def watch(now: float, admitted: bool) -> None:  # noqa: FBT001
        sent.append(now)
        if not admitted:
            refused.append(now)

    pacer = AdaptiveController(16)
    Job(LIMIT, pacer, users=10_000_000, workers=16, seed=4, watch=watch).run(SECONDS)
    times = [second / 2 for second in range(int(2 * SECONDS) - 3)]
    rates = [sum(now - 1.5 <= then < now + 1.5 for then in sent) / 3 for now in times]
    return times, rates, refused
