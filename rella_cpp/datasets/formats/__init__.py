"""The data sets that are known: what each one's files mean, and how they become users, items and interactions."""
