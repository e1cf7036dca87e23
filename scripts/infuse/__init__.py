"""The science of the workflow: small modules of typed functions that the scripts call."""
