"""What items are: domains and their words, the records that come in, and the checks on them.

A domain is data (a TOML file): what an item is called, which of its fields a prompt shows, how users rate. Everything
a user gives, a history, an item, a profile, passes through here once and is a checked record from then on.
"""
