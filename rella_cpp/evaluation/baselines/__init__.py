"""What a model has to beat: plain numbers of users and items, fitted on the training split."""
