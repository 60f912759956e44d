"""Chains of the lens, their files and their diagnosis."""
