"""Models, tokenizers, chat templates, and the GPUs that they run on.

May import: core, config.
"""
