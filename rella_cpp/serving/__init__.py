"""Requests of other programs: read, checked and answered one by one."""
