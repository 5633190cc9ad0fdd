"""The command `report`: which contracts bear the marks that they should."""
