"""What people download from other services (Letterboxd, IMDb, Goodreads, …) as histories and items."""
