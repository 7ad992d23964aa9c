"""Whether a run would find what it needs: this machine, the account, folders and services."""
