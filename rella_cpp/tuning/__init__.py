"""Few-shot tuning: rows for a trainer (ReiT), the record that ties an adapter to them, heads fitted with no trainer."""
