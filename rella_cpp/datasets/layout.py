"""What the folder of a prepared data set holds."""

SPLITS = ("train", "valid", "test")
FORMAT_VERSION = 1
MANIFEST = "manifest.json"
TABLES = ("users.parquet", "items.parquet", "interactions.parquet", "samples.parquet")
