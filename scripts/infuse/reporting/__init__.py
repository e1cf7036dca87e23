"""From numbers to what people read: tables and figures.

May import: core, data, config, evaluation.
"""
