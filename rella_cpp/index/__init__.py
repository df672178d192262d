"""Indexes: a catalog's vectors on disk, for SUBR over whole data sets and for finding candidates."""

from rella_cpp.index.building import IndexSettings, add_to_index, build_index, search_text
from rella_cpp.index.item_index import ItemIndex
from rella_cpp.index.manifest import IndexManifest
from rella_cpp.index.projection import Projection

__all__ = ["IndexManifest", "IndexSettings", "ItemIndex", "Projection", "add_to_index", "build_index", "search_text"]
