"""From answers to numbers: scores, statistics, judges, layers, published figures.

May import: core, data, config.
"""
