"""From a configuration to a curve: the paper's runs, the loop, evaluation, checkpoints."""
