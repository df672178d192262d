"""A model and plain baselines on the same samples, into a run's folder; what the figures say; fitting a calibration.

Nothing that scores a request is here: the library scores without importing this room.
"""
