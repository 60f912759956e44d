"""The methods that fidelity.py compares, and what tables and figures call them."""

OURS = {"rim": "RIM", "refined": "RIM, refined"}
"""What is compared with the linear inversion."""

METHODS = OURS | {"linear": "linear, evidence", "oracle": "linear, oracle"}
