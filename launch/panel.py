"""What a person sees while a run goes on."""

import sys
import time

import rich.console
import rich.live
import rich.panel
import rich.progress_bar
import rich.table
import rich.text

from launch import silence
from launch.run import run_folder

_PLAIN_PERIOD_S = 10.0  # Without a terminal, one line in as many seconds.
_OLD_S = 5.0  # Figures of so long ago are shown with their age, and nothing is told from them.


class Panel:
    """A live panel on a terminal, else a line now and then. Use it as a context."""

    def __init__(
        self, folder: run_folder.RunFolder, title: str, actors: int, queue_size: int,
        watch: silence.Watch,
    ):  # fmt: skip
        self._folder, self._title, self._actors = folder, title, actors
        self._queue_size, self._watch = queue_size, watch
        self._start = time.monotonic()
        self._console = rich.console.Console()
        live = rich.live.Live(console=self._console, auto_refresh=False, transient=False)
        self._live = live if self._console.is_terminal else None
        self._printed, self._printed_silent = -_PLAIN_PERIOD_S, frozenset()
        self.first_update_s: float | None = None  # from the start to the first that was seen
        self._noted = 0

    def __enter__(self) -> "Panel":
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_) -> None:
        if self._live:
            self._live.stop()

    def refresh(self) -> None:
        """Shows what the nodes last said of themselves."""
        learner, evaluator = self._folder.status("learner"), self._folder.status("evaluator")
        actors = [self._folder.status(f"actor_{i}") for i in range(self._actors)]
        elapsed = time.monotonic() - self._start
        for note in learner.get("notes", [])[self._noted :]:
            self._noted += 1
            self._console.print(note, markup=False, soft_wrap=True)
        if self.first_update_s is None and learner.get("run/updates"):
            self.first_update_s = elapsed
        if self._live:
            self._live.update(self._render(learner, evaluator, actors, elapsed), refresh=True)
            return
        silent = frozenset(each.node for each in self._watch.silences())
        due = elapsed - self._printed >= _PLAIN_PERIOD_S
        if due or not silent <= self._printed_silent:
            self._printed, self._printed_silent = elapsed, silent
            sys.stdout.write(self._line(learner, evaluator, elapsed) + "\n")
            sys.stdout.flush()

    def _line(self, learner, evaluator, elapsed: float) -> str:
        silences = "".join(f"; {each}" for each in self._watch.silences())
        if not learner.get("run/updates"):
            return f"{clock(elapsed)}  starting: {self._starting(learner)}{silences}"
        done = f"{clock(elapsed)}  {learner['steps']:,} of {learner['steps_planned']:,} steps"
        updates = f"{learner['run/updates']} updates, lag {learner['run/lag_mean']:.1f}"
        score = f"return {_score(evaluator)}"
        if old := self._age("learner"):
            return f"{done}, {updates}, {score}, all {old}{silences}"
        return (
            f"{done}, {learner['run/steps_per_second']:,.0f} steps/s, {updates}, {score}, "
            f"{clock(_left(learner))} left{silences}"
        )

    def _age(self, node: str) -> str:
        """Returns how old a node's figures are, nothing if they are new."""
        seconds = self._watch.age(node)
        return f"{seconds:.0f} s ago" if seconds >= _OLD_S else ""

    def _render(self, learner, evaluator, actors, elapsed: float):
        grid = rich.table.Table.grid(padding=(0, 2), expand=True)
        grid.add_column(style="dim", width=12)
        grid.add_column(ratio=1)
        if not learner.get("run/updates"):
            grid.add_row("starting", self._starting(learner))
        else:
            done, planned = learner["steps"], learner["steps_planned"]
            old, old_score = self._age("learner"), self._age("evaluator")

            def add(name: str, text: str) -> None:
                grid.add_row(name, rich.text.Text(text, style="dim" if old else ""))

            grid.add_row("", rich.progress_bar.ProgressBar(total=planned, completed=done))
            rate = f"{learner['run/steps_per_second']:,.0f} steps/s   {clock(_left(learner))} left"
            add("steps", f"{done:,} of {planned:,}   {old or rate}")
            add(
                "updates",
                f"{learner['run/updates']}   {learner['run/update_seconds'] * 1e3:.0f} ms each   "
                f"policy lag {learner['run/lag_mean']:.1f} (largest {learner['run/lag_max']:.0f})",
            )
            grid.add_row("return", f"{_score(evaluator)}   {old_score}")
            add(
                "queue",
                f"{learner['run/queue_size']:.0f} of {self._queue_size} unrolls   "
                f"learner waits {learner['run/learner_wait_share']:.0%} for data   "
                f"actors wait {_mean_share(actors, 'queue_wait_share')} for the queue",
            )
            dropped = learner["run/stale_dropped"] + learner["run/repeats_dropped"]
            add(
                "health",
                f"{_health(learner)}   dropped {dropped:.0f}   "
                f"not finite {learner['run/bad_updates']:.0f}",
            )
        for each in self._watch.silences():
            grid.add_row("silent", rich.text.Text(str(each), style="bold red"))
        return rich.panel.Panel(
            grid, title=f"gridracer  {self._title}", subtitle=clock(elapsed), title_align="left",
            subtitle_align="right",
        )  # fmt: skip

    def _starting(self, learner) -> str:
        nodes = [f"actor_{i}" for i in range(self._actors)] + ["learner", "evaluator"]
        up = [node for node in nodes if self._folder.status(node)]
        if len(up) < len(nodes):
            return f"{len(up)} of {len(nodes)} processes are up"
        return "all processes are up, compiling: minutes the first time, then seconds"


def _left(learner) -> float:
    rate = max(learner["run/steps_per_second"], 1e-9)
    by_steps = max(learner["steps_planned"] - learner["steps"], 0) / rate
    return min(by_steps, max(learner["seconds_planned"] - learner["run/seconds"], 0.0))


def _health(learner) -> str:
    """Returns the figures of the learner's objective: of gradients, if it has any, or of PPO."""
    if "analytic/loss" in learner:
        return (
            f"objective {-learner['analytic/loss']:.4f}   "
            f"margin {learner['analytic/margin']:.4f}   "
            f"gradient norm {learner['loss/gradient_norm']:.3g}"
        )
    return (
        f"KL {learner['policy/kl']:.4f}   clipped {learner['policy/clip_share']:.0%}   "
        f"explained variance {learner['value/explained_variance']:.2f}"
    )


def _score(evaluator) -> str:
    if "evaluation/return" not in evaluator:
        return "not evaluated yet"
    return (
        f"{evaluator['evaluation/return']:.2f}   best {evaluator['evaluation/best_return']:.2f}   "
        f"do nothing {evaluator['evaluation/do_nothing_return']:.2f}"
    )


def _mean_share(actors, name: str) -> str:
    shares = [actor[name] for actor in actors if name in actor]
    return f"{sum(shares) / len(shares):.0%}" if shares else "?"


def clock(seconds: float) -> str:
    """Returns seconds as minutes and seconds, with hours where there are any."""
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
