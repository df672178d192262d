"""What this machine has and this process may use of it: cores, memory, addresses, the processor and its faults."""
