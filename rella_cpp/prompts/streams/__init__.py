"""Streams: histories whose lines end in ratings: their text, their frame, their tokens."""
