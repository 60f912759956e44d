"""Many lenses: a table's rows fitted by workers, their folders, the table of results, the page."""
