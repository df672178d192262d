"""The options of commands: each declared once, alone or in a group, with the methods that use it.

A group is one concern: a frozen dataclass of at most eight options (`groups` hands it to a command). A module has the
options of one concern, and opens or reads what they name. What only one command does stands in `commands/`; nothing
here shows a result.
"""
