"""The lens: mass components, deflections, critical curves, the conventions of other packages."""
