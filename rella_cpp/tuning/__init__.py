"""Few-shot tuning: rows for a trainer (ReiT), with a manifest that ties an adapter to them; heads with no trainer."""
