"""The facade: `Rella`, the components that a loaded model is made of, and candidates to recommend."""
