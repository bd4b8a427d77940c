"""One file per algorithm, each the pseudo-code of its paper made executable.

A new learner is a file here and a line in `LEARNERS`.
"""

from aevb.learners.aevb import AEVB
from aevb.learners.full_vb import FullVB
from aevb.learners.iwae import IWAE
from aevb.learners.learner import Learner
from aevb.learners.mcem import MCEM
from aevb.learners.reweighted_wake_sleep import ReweightedWakeSleep
from aevb.learners.wake_sleep import WakeSleep

LEARNERS: dict[str, type[Learner]] = {
    "aevb": AEVB,
    "wake-sleep": WakeSleep,
    "mcem": MCEM,
    "iwae": IWAE,
    "reweighted-wake-sleep": ReweightedWakeSleep,
    "full-vb": FullVB,
}
