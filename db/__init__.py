"""What the node remembers: SQL and nothing else."""
