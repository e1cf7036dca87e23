"""From numbers to what people read: tables, figures, and a page of every answer.

May import: core, data, config, evaluation.
"""
