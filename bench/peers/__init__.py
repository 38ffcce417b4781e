"""Other ways to make the same decision, measured beside archroute: `make bench-peers`.

prepare     one checkpoint a shape, what each peer makes of it, and the requests
measure     latency, decisions per second and memory of each peer, in a process of its own
curves      latency over new tokens and over policies
roofline    what the machine's matrix products reach, and the share of it that a decision does
start       from a server's start to its first answer, and the memory that it holds
agreement   how often the int8 bundle decides as the fp32 bundle does
render      RESULTS.md and its plots, out of what the others left in build/bench
"""
