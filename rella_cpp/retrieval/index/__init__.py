"""An index: a catalog's vectors on disk, for SUBR over whole data sets and for finding candidates."""
