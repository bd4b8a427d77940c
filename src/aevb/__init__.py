"""Auto-Encoding Variational Bayes (Kingma & Welling, arXiv:1312.6114), reproduced.

What most users need is here. Data flows one way: `data → learners → training → results →
comparison → figures`, with `model` and `inference` below the learners.

A name is imported when it is first asked for, so `import aevb` takes no time and no PyTorch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aevb.comparison.judge import judge as judge
    from aevb.data import load as load
    from aevb.figures import draw as draw
    from aevb.inference.likelihood import marginal_loglik as marginal_loglik
    from aevb.learners import LEARNERS as LEARNERS
    from aevb.learners.aevb import lower_bound as lower_bound
    from aevb.model.networks import Model as Model
    from aevb.results.curves import Curve as Curve
    from aevb.results.models import read as read_model  # noqa: F401
    from aevb.training.experiments import figure2_run as figure2_run
    from aevb.training.experiments import figure3_run as figure3_run
    from aevb.training.job import train as train
    from aevb.training.run import Run as Run

# Where each name comes from: a module, and the name there if it is another.
_HOME = {
    "Curve": ("aevb.results.curves", "Curve"),
    "LEARNERS": ("aevb.learners", "LEARNERS"),
    "Model": ("aevb.model.networks", "Model"),
    "Run": ("aevb.training.run", "Run"),
    "draw": ("aevb.figures", "draw"),
    "figure2_run": ("aevb.training.experiments", "figure2_run"),
    "figure3_run": ("aevb.training.experiments", "figure3_run"),
    "judge": ("aevb.comparison.judge", "judge"),
    "load": ("aevb.data", "load"),
    "lower_bound": ("aevb.learners.aevb", "lower_bound"),
    "marginal_loglik": ("aevb.inference.likelihood", "marginal_loglik"),
    "read_model": ("aevb.results.models", "read"),
    "train": ("aevb.training.job", "train"),
}
__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"aevb has no {name!r}; it has {', '.join(_HOME)}")
    module, attribute = _HOME[name]
    return getattr(import_module(module), attribute)
