"""Google Cloud on this machine: Cloud Storage, BigQuery and Pub/Sub, each by a server of its own.

No service of ours is imitated by hand: the servers are other people's, and this package finds,
starts, watches and ends them.
"""
