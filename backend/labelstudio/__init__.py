"""Label Studio's JSON and its REST API: the wire, and nothing else."""
