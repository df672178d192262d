"""What is compared with rella-cpp, a module for each kind."""
