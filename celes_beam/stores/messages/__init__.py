"""Messages of Pub/Sub: received under a lease, sent as dead letters, published as a load."""
