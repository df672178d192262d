"""Templates that a user or a model file brings: compiled and rendered in a process of their own, within bounds."""
