"""Evaluation: a model beside plain baselines on the same samples, with intervals."""
