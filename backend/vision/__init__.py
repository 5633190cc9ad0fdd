"""A page becomes marks: detection by a network and by colour, classification, and both weighed together."""
