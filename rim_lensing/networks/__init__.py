"""The Recurrent Inference Machine (paper section 2.1) and what trains it."""
