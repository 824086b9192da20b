"""What we compare ourselves with, one program a peer.

Each runs under the interpreter of the peers' own environment (`make peers`), imports nothing of
ours but this folder, and writes one JSON object to standard output. `benchmarks.peer_process`
starts them.
"""
