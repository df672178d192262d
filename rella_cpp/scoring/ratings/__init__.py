"""What ratings alone say of a user and an item: six statistics, trees on them, offsets and factors."""
