"""How good probabilities and orders are: AUC, LogLoss, ranks, and their intervals. Numbers in, numbers out."""
