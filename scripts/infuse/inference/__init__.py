"""What models write and score: backends, classification, API clients, the logit lens.

May import: core, data, config, models.
"""
