"""The charts of every figure: one file for each family."""
