"""What another recommender expects next (SASRec, GRU4Rec, …): lists by user and position, from a table."""
