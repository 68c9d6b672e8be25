"""The parts of a training run: first weights, optimiser, schedule, folder, card."""
