"""From messages to BigQuery and a lake: the journal, what was seen, delivery and flushes."""
