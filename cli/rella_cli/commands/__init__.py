"""The commands: one module a command, or a group of commands, named after it.

A command takes its options, calls one function of the library, and shows what that returns. Options stand in
`options/`, the looks of results in `views/`. Whatever takes long to import is imported in the function that needs it.
"""
