"""Runs that train a network, and what they leave."""
