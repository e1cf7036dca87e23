"""From documents to a trained model: batches, losses, optimizer steps, checkpoints, costs.

May import: core, data, config, models.
"""
