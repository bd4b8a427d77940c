"""From a configuration to a curve: the runs of the paper, the loop, evaluation, checkpoints."""
