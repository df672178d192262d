"""Rows out of files: archives, streams, delimited text, JSON, Parquet; columns of texts, numbers and times."""
