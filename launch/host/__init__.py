"""What a process takes of the machine it runs on: cores, memory, cache, network, signals."""
