"""What is kept on disk: a cache between runs, artifacts that appear by rename, journals that long work resumes from."""
