"""Requests by HTTP: routes as other servers have them, answered by the same desk as the worker's lines."""
